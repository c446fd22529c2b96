"""Undecided signs of leaky ReLUs: either slope is right, and nothing else is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parent / "runners"))

from kinks import nearest_gradients  # noqa: E402


def gradients(values: torch.Tensor) -> dict[str, torch.Tensor]:
    values = values.clone().requires_grad_()
    F.leaky_relu(values, 0.2).sum().backward()
    assert values.grad is not None
    return {"input": values.grad}


@pytest.mark.parametrize("slope", [0.2, 1.0])
def test_both_slopes_are_right_at_zero(slope: float) -> None:
    values = torch.tensor([1.0, -1.0, 1e-8])
    expected = {"input": torch.tensor([1.0, 0.2, slope])}
    assert torch.equal(nearest_gradients(lambda: gradients(values), expected)["input"], expected["input"])


@pytest.mark.parametrize("values", [[1.0, -1.0, 1e-8], [1.0, -1.0, 1e-3]])
def test_other_slopes_and_decided_signs_stay_wrong(values: list[float]) -> None:
    for expected in ([1.0, 0.2, 0.5], [0.2, 0.2, 1.0]):
        found = nearest_gradients(lambda: gradients(torch.tensor(values)), {"input": torch.tensor(expected)})
        assert (found["input"] - torch.tensor(expected)).abs().max() > 0.2
