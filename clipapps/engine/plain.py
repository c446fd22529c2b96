"""Checkpoint contents made plain: tensors, numbers, strings, lists and dicts only.

`torch.load(weights_only=True)` then opens our checkpoints without any allow-list, on this torch and on later ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

_HISTORY = "__history__"


def to_plain(value: Any, where: str = "") -> Any:
    """A copy of nested `value` that holds only tensors (on the CPU), numbers, strings, None, lists and dicts.

    Numpy scalars become Python numbers, also `np.float64`, which is a `float` to isinstance but not to the restricted
    unpickler. Numpy arrays become tensors. Tuples become lists. A `HistoryBuffer` becomes a dict that `from_plain`
    turns back.

    Raises:
        TypeError: something else was found; the message names its place.

    >>> to_plain({"a": np.float64(0.5), "b": (1, np.int64(2))})
    {'a': 0.5, 'b': [1, 2]}
    """
    if isinstance(value, torch.Tensor):
        return _own_storage(value.detach().cpu())
    if isinstance(value, HistoryBuffer):
        values, counts = value.data
        return {_HISTORY: [values.tolist(), counts.tolist()], "max_length": int(value.max_length)}
    if isinstance(value, np.generic):
        return to_plain(value.item(), where)
    if isinstance(value, np.ndarray) and value.dtype != object:
        return torch.from_numpy(np.array(value)) if value.dtype.kind in "biuf" else value.tolist()
    if isinstance(value, Mapping):
        return {_plain_key(key, where): to_plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [to_plain(item, f"{where}.{index}") for index, item in enumerate(value)]
    return _plain_atom(value, where)


def from_plain(value: Any) -> Any:
    """The inverse of `to_plain` for `HistoryBuffer`s; everything else stays as it is."""
    if isinstance(value, dict):
        if _HISTORY in value:
            values, counts = value[_HISTORY]
            return HistoryBuffer(values, counts, value["max_length"])
        return {key: from_plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_plain(item) for item in value]
    return value


def _own_storage(tensor: torch.Tensor) -> torch.Tensor:
    """A copy when the tensor is a small view of a large storage, because torch.save writes whole storages."""
    is_view = tensor.untyped_storage().nbytes() > tensor.numel() * tensor.element_size()
    return tensor.clone() if is_view else tensor


def _plain_atom(value: Any, where: str) -> Any:
    kinds: tuple[Any, ...] = (bool, int, float, complex, str, bytes)
    for kind in kinds:
        if isinstance(value, kind):
            return kind(value)
    if value is None or isinstance(value, (torch.dtype, torch.Size)):
        return list(value) if isinstance(value, torch.Size) else value
    if isinstance(value, (Path, torch.device)):
        return str(value)
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    raise TypeError(f"A checkpoint holds plain values only, but {where.lstrip('.') or 'it'} is a "
                    f"{type(value).__name__}.")


def _plain_key(key: Any, where: str) -> Any:
    if isinstance(key, (str, int, float, bool, np.generic)) or key is None:
        return to_plain(key)
    raise TypeError(f"A checkpoint holds plain keys only, but a key of {where.lstrip('.') or 'it'} is a "
                    f"{type(key).__name__}.")
