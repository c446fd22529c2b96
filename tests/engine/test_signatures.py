"""Arguments followed along the parents."""

from __future__ import annotations

from torch import nn

from clipapps.engine.signatures import accepted_arguments


class Parent:
    def __init__(self, width: int, depth: int = 2) -> None:
        self.width = width


class Forwards(Parent):
    def __init__(self, height: int, **kwargs) -> None:
        super().__init__(depth=3, **kwargs)


class Positional(Parent):
    def __init__(self, *args, extra: int = 1, **kwargs) -> None:
        Parent.__init__(self, 5, *args, **kwargs)


class Pops(Parent):
    def __init__(self, **kwargs) -> None:
        self.mode = kwargs.pop("mode", None)
        if "late" in kwargs:
            self.late = kwargs["late"]
        super().__init__(**kwargs)


class Leaks:
    def __init__(self, path_type: str = "x", **path_kwargs) -> None:
        self.rest = dict(**path_kwargs)


class Silent(Forwards):
    """No __init__ of its own."""


class Torch(nn.Module):
    def __init__(self, channels: int, **kwargs) -> None:
        super().__init__(**kwargs)


def names(target) -> set[str]:
    return set(accepted_arguments(target).parameters)


def test_arguments_along_the_parents():
    assert names(Forwards) == {"height", "width"}  # depth is given by the class itself: passing it again would fail
    assert accepted_arguments(Forwards).required == {"height", "width"}
    assert names(Silent) == names(Forwards)
    assert names(Positional) == {"extra", "depth"}
    assert names(Pops) == {"mode", "late", "width", "depth"}


def test_where_the_trail_ends():
    assert accepted_arguments(Forwards).open_at is None
    assert accepted_arguments(Leaks).open_at == "Leaks"
    assert accepted_arguments(Leaks).delegate == "path_type"
    assert accepted_arguments(Torch).open_at is None  # torch's own **kwargs only raise
    assert names(Torch) == {"channels"}


def test_functions_and_builtins():
    def build(a: int, b: int = 2, **rest) -> None: ...

    assert names(build) == {"a", "b"}
    assert accepted_arguments(build).open_at == "build"
    assert accepted_arguments(build).required == {"a"}
    assert accepted_arguments(dict).open_at == "dict"


def test_mmengine_schedulers_with_their_mixins():
    from mmengine.optim import LinearLR

    accepted = accepted_arguments(LinearLR)
    assert {"start_factor", "end_factor", "begin", "end", "by_epoch"} <= set(accepted.parameters)
    assert "param_name" not in accepted.parameters
    assert accepted.open_at is None
