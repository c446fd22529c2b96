"""Which arguments a class accepts, followed through `**kwargs` to its parents."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_TAKEN = ("pop", "get", "setdefault")


@dataclass
class Accepted:
    """The keyword arguments of a class or function.

    Args:
        parameters: name -> parameter; an inspect.Parameter, or None where only a `kwargs.pop("name")` shows it.
        required: names that must be given.
        open_at: the class whose `**kwargs` go somewhere this analysis does not follow; None when the list is complete.
        delegate: the argument that names the class which gets the `**kwargs`: "resize_type" beside `**resize_kwargs`.
    """

    parameters: dict[str, inspect.Parameter | None] = field(default_factory=dict)
    required: set[str] = field(default_factory=set)
    open_at: str | None = None
    delegate: str | None = None


@dataclass
class _KwargsUse:
    """What an `__init__` does with its `**kwargs`."""

    is_forwarded: bool = False
    leaks: bool = False
    names: set[str] = field(default_factory=set)
    given: set[str] = field(default_factory=set)
    given_count: int = 0


@cache
def accepted_arguments(target: Callable[..., Any]) -> Accepted:
    """The arguments of `target`: its signature, and along the MRO those of the parents its `**kwargs` reach.

    >>> class Parent:
    ...     def __init__(self, width, depth=2): ...
    >>> class Child(Parent):
    ...     def __init__(self, height, **kwargs): super().__init__(depth=3, **kwargs)
    >>> sorted(accepted_arguments(Child).parameters)
    ['height', 'width']
    """
    if not inspect.isclass(target):
        return _of_function(target)
    result, given, given_count = Accepted(), set(), 0
    for cls in target.__mro__:
        if "__init__" not in vars(cls):
            continue
        if cls is object or _accepts_nothing(cls):
            break
        signature = _signature(vars(cls)["__init__"])
        if signature is None:
            result.open_at = cls.__name__
            break
        named = [p for p in list(signature.parameters.values())[1:] if p.kind in _NAMED]
        given |= {parameter.name for parameter in named[:given_count]}
        for parameter in named:
            if parameter.name not in given and parameter.name not in result.parameters:
                result.parameters[parameter.name] = parameter
                if parameter.default is inspect.Parameter.empty:
                    result.required.add(parameter.name)
        rest = next((p.name for p in signature.parameters.values() if p.kind is p.VAR_KEYWORD), None)
        if rest is None:
            break
        use = _use_of_kwargs(vars(cls)["__init__"], rest)
        result.parameters.update(dict.fromkeys(use.names - set(result.parameters)))
        given, given_count = given | use.given, use.given_count
        if use.leaks:
            result.open_at = cls.__name__
            result.delegate = _delegate(rest, result.parameters)
        if not use.is_forwarded:
            break
    return result


def _delegate(rest: str, names: Mapping[str, Any]) -> str | None:
    """The argument that names the class behind `**kwargs`: "resize_type" for `**resize_kwargs`, else the only type."""
    if rest.endswith("_kwargs"):
        stem = f"{rest.removesuffix('_kwargs')}_type"
        return stem if stem in names else None
    kinds = [name for name in names if name.endswith("_type")]
    return kinds[0] if len(kinds) == 1 else None


def _of_function(target: Callable[..., Any]) -> Accepted:
    signature = _signature(target)
    if signature is None:
        return Accepted(open_at=getattr(target, "__name__", str(target)))
    result = Accepted()
    for parameter in signature.parameters.values():
        if parameter.kind in _NAMED:
            result.parameters[parameter.name] = parameter
            if parameter.default is inspect.Parameter.empty:
                result.required.add(parameter.name)
        elif parameter.kind is parameter.VAR_KEYWORD:
            result.open_at = getattr(target, "__name__", str(target))
    return result


def _signature(target: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(target)
    except (TypeError, ValueError):
        return None


def _accepts_nothing(cls: type) -> bool:
    """torch's Module declares `**kwargs` only to raise on them."""
    return cls.__module__ == "torch.nn.modules.module" and cls.__name__ == "Module"


def _use_of_kwargs(function: Callable[..., Any], rest: str) -> _KwargsUse:
    """Read the source: which names are taken from the rest, and whether it goes to the parent or elsewhere."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError, IndentationError):
        return _KwargsUse(is_forwarded=True, leaks=True)
    use = _KwargsUse()
    accounted: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            _note_call(node, rest, use, accounted)
        elif isinstance(node, ast.Subscript) and _is_name(node.value, rest):
            accounted.add(id(node.value))
            _note_constant(node.slice, use)
        elif isinstance(node, ast.Compare) and _is_name(node.comparators[0], rest):
            accounted.add(id(node.comparators[0]))
            _note_constant(node.left, use)
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == rest]
    use.leaks = any(id(node) not in accounted for node in names)
    return use


def _note_call(node: ast.Call, rest: str, use: _KwargsUse, accounted: set[int]) -> None:
    function = node.func
    if isinstance(function, ast.Attribute) and _is_name(function.value, rest):
        accounted.add(id(function.value))
        if function.attr in _TAKEN and node.args:
            _note_constant(node.args[0], use)
    forwarded = [keyword.value for keyword in node.keywords if keyword.arg is None and _is_name(keyword.value, rest)]
    if forwarded and isinstance(function, ast.Attribute) and function.attr == "__init__":
        accounted.update(id(value) for value in forwarded)
        use.is_forwarded = True
        use.given |= {keyword.arg for keyword in node.keywords if keyword.arg}
        is_super = isinstance(function.value, ast.Call)  # Parent.__init__(self, ...) names the object itself, too
        count = sum(not isinstance(argument, ast.Starred) for argument in node.args)
        use.given_count = max(0, count - (0 if is_super else 1))


def _note_constant(node: ast.expr, use: _KwargsUse) -> None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        use.names.add(node.value)


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
