"""The strict check of a config, before anything is built: every finding at once, each with its full key."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterable, Mapping, Set
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from mmengine import registry as registries
from mmengine.config.lazy import LazyAttr, LazyObject

from clipapps.engine.config_places import GROUPS, Place, child_place, loop_of, runner_keys, top_level_places
from clipapps.engine.signatures import Accepted, accepted_arguments
from clipapps.errors import did_you_mean
from clipapps.project import Project, discover

if TYPE_CHECKING:
    from mmengine import Config

_SHOWN = 8  # arguments listed when none is near
_LIKELY_A_CLASS = 0.8  # how near to a known class name an unknown `type` must be to count as a misspelled class


def check_config(cfg: Config) -> tuple[list[str], list[str]]:
    """Every finding in a config, and every place where the check had to stop.

    Returns:
        errors and warnings, each "dotted.key: sentence".
    """
    checker = _Checker(cfg.get("default_scope") or "clipapps")
    checker.check_top_level(cfg)
    return checker.errors, checker.warnings


def accepted_keys(cfg: Config, path: list[str]) -> set[str]:
    """The keys that may stand in the dict at `path`, whether they do or not; [] is the top level."""
    if not path:
        return set(_top_level_keys())
    checker = _Checker(cfg.get("default_scope") or "clipapps")
    node: Any = dict.get(cfg._cfg_dict, path[0])
    place = child_place(None, path[0])
    for key in path[1:]:
        if isinstance(node, list):
            node = node[int(key)]
        else:
            place, node = child_place(place, key), dict.get(node, key)
    if place is None or isinstance(node, list):
        return set()
    names = set(place.keys) | set(place.children) | set(place.entries)
    target = checker.resolve(node or {}, place, ".".join(path))
    if target is not None:
        accepted = checker.with_delegate(accepted_arguments(target), node or {}, place, ".".join(path))
        names |= set(accepted.parameters) - (place.provided - set(place.children)) | {"type"}
    return names


class _Checker:
    """Walks a config once and collects findings."""

    def __init__(self, scope: str) -> None:
        self.scope = scope
        self.errors: list[str] = []
        self.warnings: list[str] = []

    def check_top_level(self, cfg: Config) -> None:
        """Check the names at the top, what belongs together, and everything below."""
        allowed = _top_level_keys()
        imported: set[str] = getattr(cfg, "_imported_names", set())
        content = dict(dict.items(cfg._cfg_dict))
        for key, value in content.items():
            if key in imported or key.startswith("_") or isinstance(value, _imported_kinds()):
                continue
            if key not in allowed:
                hint = (did_you_mean(key, allowed - set(content)) or did_you_mean(key, allowed)
                        or " The name of a helper variable begins with '_'.")
                self.errors.append(f"{key}: this is no key of a config.{hint}")
            elif key in top_level_places():
                self.check(value, child_place(None, key), key)
        if "model" not in content and not self._is_suggested("model"):
            self.errors.append("model: missing.")
        for group in GROUPS:
            given = [key for key in group if content.get(key) is not None]
            for key in group:
                if given and key not in given and not self._is_suggested(key):
                    self.errors.append(f"{key}: missing; {', '.join(given)} needs it.")

    def check(self, value: Any, place: Place | None, path: str) -> None:
        """Check one value and everything in it."""
        if isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                self.check(item, place, f"{path}.{index}")
        elif isinstance(value, (LazyObject, LazyAttr)):
            self._build(value, path)
        elif isinstance(value, dict):
            self._check_dict(dict(dict.items(value)), place or Place(), path)

    def resolve(self, content: Mapping[str, Any], place: Place, path: str) -> Callable[..., Any] | None:
        """The class that a dict builds; None when it builds none, or none that is known (then there is a finding)."""
        kind = dict.get(content, "type") if isinstance(content, dict) else content.get("type")
        if place.is_closed:
            return None
        if kind is None:
            return loop_of(content) if path == "train_cfg" else place.default
        if isinstance(kind, (LazyObject, LazyAttr)):
            return self._build(kind, f"{path}.type")
        return self._find_class(kind, place, path) if isinstance(kind, str) else kind if callable(kind) else None

    def _check_dict(self, content: dict[str, Any], place: Place, path: str) -> None:
        target, refused = self.resolve(content, place, path), set()
        if target is not None:
            refused = self._check_arguments(content, target, place, path)
        elif place.is_closed or place.entries:
            refused = self._refuse_unknown(content, place.keys | place.children.keys() | place.entries, path)
        elif place.each is not None or "type" in content or place.registry is None or not place.is_certain:
            pass
        elif path == "param_scheduler" or path.endswith("_evaluator"):
            pass
        else:
            self.errors.append(f"{path}.type: missing.")
        if path == "train_cfg" and not {"type", "by_epoch"} & set(content) and not self._is_suggested("by_epoch"):
            self.errors.append("train_cfg.by_epoch: missing; False counts steps (max_iters), True epochs (max_epochs).")
        for key, value in content.items():
            if key != "type" and key not in refused:
                self.check(value, child_place(place, key), f"{path}.{key}")

    def _check_arguments(self, content: dict[str, Any], target: Callable[..., Any], place: Place,
                         path: str) -> set[str]:
        """Check the keys of a dict against the class it builds; returns the keys that were refused."""
        accepted = self.with_delegate(accepted_arguments(target), content, place, path)
        names = (set(accepted.parameters) | place.keys | set(place.children)) - {"self"}
        name = getattr(target, "__name__", str(target))
        unknown = [key for key in content if key not in names and key not in ("type", "_scope_", "_delete_")]
        if _is_foreign_constructor(content):
            unknown = []
        if unknown and accepted.open_at is not None:
            self.warnings += [f"{path}.{key}: not checked; {accepted.open_at} passes unknown arguments on." for key in
                              unknown]
        elif unknown:
            self._refuse_unknown(dict.fromkeys(unknown), names - set(content), path, name)
        missing = accepted.required - set(content) - place.provided if place.is_certain else set()
        for key in sorted(missing):
            if not self._is_suggested(key):
                self.errors.append(f"{path}.{key}: missing; {name} needs it.")
        for key, parameter in accepted.parameters.items():
            if parameter is not None and isinstance(content.get(key), str):
                self._check_number(content[key], parameter, f"{path}.{key}")
        return set(unknown)

    def with_delegate(self, accepted: Accepted, content: Mapping[str, Any], place: Place, path: str) -> Accepted:
        """The arguments joined with those of the class that gets the rest, where one argument names it."""
        parameter = accepted.parameters.get(accepted.delegate or "")
        if parameter is None:
            return accepted
        kind = content.get(str(accepted.delegate), parameter.default)
        target = self.resolve({"type": kind}, place, f"{path}.{accepted.delegate}")
        if target is None:
            return accepted
        rest = accepted_arguments(target)
        return Accepted({**rest.parameters, **accepted.parameters}, accepted.required, rest.open_at)

    def _check_number(self, text: str, parameter: inspect.Parameter, path: str) -> None:
        """A word where a number belongs, as after `max_iters=1O0`."""
        kind = parameter.annotation if isinstance(parameter.annotation, str) else getattr(
            parameter.annotation, "__name__", "")
        if kind.split("|")[0].strip() in ("int", "float", "bool") and "str" not in kind:
            self.errors.append(f"{path}: {text!r} is text, but {kind} is expected.")

    def _refuse_unknown(self, keys: Iterable[str], allowed: Set[str], path: str, name: str = "this place") -> set[str]:
        refused = {key for key in keys if key not in allowed}
        for key in keys:
            if key in refused:
                shown = ", ".join(sorted(allowed)[:_SHOWN]) + (", ..." if len(allowed) > _SHOWN else "")
                hint = did_you_mean(key, allowed) or f" It takes {shown}."
                self.errors.append(f"{path}.{key}: {name} has no argument {key!r}.{hint}")
        return refused

    def _is_suggested(self, key: str) -> bool:
        """Whether a finding already proposes `key`: then a misspelling is the cause, and "missing" would repeat it."""
        return any(error.endswith(f"Did you mean {key!r}?") for error in self.errors)

    def _build(self, lazy: LazyObject | LazyAttr, path: str) -> Callable[..., Any] | None:
        try:
            built: Callable[..., Any] = lazy.build()
            return built
        except Exception as error:
            module, place = getattr(lazy, "module", ""), getattr(lazy, "location", None)
            where = f" ({place})" if place else ""
            reason = str(error).partition(" for ")[2] or str(error)
            self.errors.append(f"{path}: {module}.{lazy} cannot be imported{where}: {reason}")
            return None

    def _find_class(self, name: str, place: Place, path: str) -> Callable[..., Any] | None:
        """The class registered under a name: where it belongs, else anywhere."""
        if place.registry is not None:
            found = _lookup(name, place.registry, self.scope)
            if found is not None:
                return found
        for registry in _REGISTRIES:
            if name in _known_names(registry):
                return _lookup(name, registry, self.scope)
        if place.registry is None:
            return None
        candidates = _known_names(place.registry)
        if place.is_certain or get_close_matches(name, candidates, n=1, cutoff=_LIKELY_A_CLASS):
            self.errors.append(f"{path}.type: there is no class {name!r} among {place.registry.lower()}."
                               f"{did_you_mean(name, candidates)}")
        return None


_REGISTRIES = ("MODELS", "DATASETS", "TRANSFORMS", "METRICS", "HOOKS", "LOOPS", "OPTIMIZERS", "PARAM_SCHEDULERS",
               "DATA_SAMPLERS", "VISUALIZERS", "OPTIM_WRAPPERS", "FUNCTIONS")


def _lookup(name: str, registry: str, scope: str) -> Callable[..., Any] | None:
    root = getattr(registries, registry)
    try:
        with root.switch_scope_and_registry(None if "." in name else scope) as own:
            found: Callable[..., Any] | None = own.get(name)
            return found
    except Exception:  # mmengine raises RuntimeError for an unknown name, and import errors of whatever it tries
        return None


def _known_names(registry: str) -> set[str]:
    """Every name registered in a registry, its own and its children's, of the modules imported so far."""
    names: set[str] = set()
    stack = [getattr(registries, registry)]
    while stack:
        node = stack.pop()
        names |= set(node.module_dict)
        stack += node.children.values()
    return names


def _top_level_keys() -> set[str]:
    declared = {key for project in discover().values() if isinstance(project, Project) for key in project.config_keys}
    return set(runner_keys()) | declared


def _imported_kinds() -> tuple[type, ...]:
    return (LazyObject, LazyAttr, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, type)


def _is_foreign_constructor(content: Mapping[str, Any]) -> bool:
    """An optimizer wrapper with a constructor of its own: its keys are names of optimizers."""
    return "constructor" in content


