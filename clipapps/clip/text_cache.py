"""A cache that holds one value for as long as nothing that it was computed from has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from torch import Tensor

Value = TypeVar("Value")


def fingerprint(tensors: Iterable[Tensor]) -> tuple[Any, ...]:
    """Identity and version of each tensor: it changes with every in-place update and every replacement.

    Torch does not count updates through `.data`, nor those of tensors made in inference mode.
    """
    return tuple((tensor.data_ptr(), None if tensor.is_inference() else tensor._version, tensor.dtype, tensor.device)
                 for tensor in tensors)


class VersionedCache(Generic[Value]):
    """Remember the value computed last, keyed on plain facts and on tensors.

    Names and ids go into `key`; parameters into `tensors`: an optimizer step or a loaded checkpoint raises their
    version, so the next call computes anew. So does a value that a caller has changed in place.

    >>> import torch
    >>> cache, weight = VersionedCache(), torch.zeros(2)
    >>> cache.get("a", [weight], lambda: weight.sum().item())
    0.0
    >>> _ = weight.add_(1)
    >>> cache.get("a", [weight], lambda: weight.sum().item())
    2.0
    """

    def __init__(self) -> None:
        self._key: Any = None
        self._stamp: Any = None
        self._value: Value | None = None

    def get(self, key: Any, tensors: Iterable[Tensor], compute: Callable[[], Value]) -> Value:
        """The remembered value, or the result of `compute` when the key or any tensor differs from last time."""
        full_key = (key, fingerprint(tensors))
        if self._value is None or self._key != full_key or self._stamp != _stamp(self._value):
            self._key, self._value = full_key, compute()
            self._stamp = _stamp(self._value)
        return self._value


def _stamp(value: Any) -> Any:
    return fingerprint([value]) if isinstance(value, Tensor) else None
