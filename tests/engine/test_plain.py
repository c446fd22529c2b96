"""Checkpoint contents without anything that needs code to read."""

from __future__ import annotations

from collections import Counter, OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from clipapps.engine.plain import from_plain, to_plain


def test_numpy_becomes_python_and_tensors():
    plain = to_plain({"a": np.float64(0.5), "b": np.int32(3), "c": np.bool_(True), "d": np.arange(3),
                      "e": np.array(["x"])})
    assert [type(value) for value in plain.values()] == [float, int, bool, torch.Tensor, list]
    assert plain["d"].tolist() == [0, 1, 2]


def test_containers_become_dicts_and_lists():
    plain = to_plain(OrderedDict(a=(1, 2), b={3}, c=Counter({5: 2}), d=torch.Size([2, 3]), e=Path("x"), f=None))
    assert plain == {"a": [1, 2], "b": [3], "c": {5: 2}, "d": [2, 3], "e": "x", "f": None}
    assert type(plain) is dict
    assert type(plain["c"]) is dict


def test_history_survives():
    buffer = HistoryBuffer([1.5, 2.0], [1, 1], max_length=7)
    again = from_plain(to_plain({"deep": [buffer]}))["deep"][0]
    assert isinstance(again, HistoryBuffer)
    assert again.max_length == 7
    assert again.mean() == 1.75


def test_a_small_view_does_not_drag_its_storage_along():
    view = to_plain(torch.zeros(1000)[:2])
    assert view.untyped_storage().nbytes() == 8


def test_subclasses_become_the_plain_kind():
    class Odd(float):
        pass

    assert type(to_plain(Odd(2.0))) is float


def test_anything_else_is_named():
    with pytest.raises(TypeError, match=r"a\.0\.b is a object"):
        to_plain({"a": [{"b": object()}]})
    with pytest.raises(TypeError, match="plain keys"):
        to_plain({(1, 2): 3})
