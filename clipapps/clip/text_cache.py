"""A cache that holds one value for as long as nothing that it was computed from has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

Value = TypeVar("Value")


def fingerprint(tensors: Iterable[Tensor]) -> tuple[Any, ...]:
    """Storage, version, and where it is trainable the contents of each tensor: equal only while nothing has changed.

    The version counts in-place updates; the weak reference tells a replaced storage even at a reused address. Writes
    through `.data` are counted by neither (an average of weights that is swapped in for an evaluation is written so),
    hence two sums over what is trainable. Frozen tensors are not summed: reading a large frozen tower at every call
    would cost more than it guards against.
    """
    tensors = list(tensors)
    return (*((StorageWeakRef(tensor.untyped_storage()), tensor.storage_offset(), tensor.shape, tensor.dtype,
               tensor.device, None if tensor.is_inference() else tensor._version) for tensor in tensors),
            _sums([tensor.detach() for tensor in tensors if tensor.requires_grad]))


def _sums(tensors: list[Tensor]) -> tuple[float, ...]:
    """Sum and norm of each tensor, fetched from the device at once."""
    if not tensors:
        return ()
    parts = [part.to(torch.float64) for tensor in tensors
             for part in (tensor.sum(), torch.linalg.vector_norm(tensor.float()))]
    return tuple(torch.stack([part.to(parts[0].device) for part in parts]).tolist())


class VersionedCache(Generic[Value]):
    """Remember the value computed last, keyed on plain facts and on tensors.

    Names and ids go into `key`, parameters into `tensors`: after an optimizer step, a loaded checkpoint, or a move to
    another device the next call computes anew. So it does when a caller has changed the value in place. A copy of a
    cache is empty.

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

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return type(self), ()

    def get(self, key: Any, tensors: Iterable[Tensor], compute: Callable[[], Value]) -> Value:
        """The remembered value, or the result of `compute` when the key or any tensor differs from last time."""
        full_key = (key, fingerprint(tensors))
        if self._value is None or self._key != full_key or self._stamp != _stamp(self._value):
            self._key, self._value = full_key, compute()
            self._stamp = _stamp(self._value)
        return self._value


def _stamp(value: Any) -> Any:
    return fingerprint([value]) if isinstance(value, Tensor) else None
