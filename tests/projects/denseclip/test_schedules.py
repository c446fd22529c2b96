"""The learning-rate curve: warm-up multiplies the decay of the same iteration, and what stays zero."""

from __future__ import annotations

import pytest
import torch

from clipapps.projects.denseclip.schedules import WarmupPolyLR


def rates(base: float, steps: int, **options) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=base)
    schedule = WarmupPolyLR(optimizer, **options)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_formula_at_every_step():
    found = rates(1e-2, 10, end=10, power=0.9, eta_min=1e-4, warmup_iters=4, warmup_ratio=0.1)
    for step, rate in enumerate(found):
        decay = (1e-2 - 1e-4) * (1 - step / 10) ** 0.9 + 1e-4
        assert rate == pytest.approx(decay * (1 - (1 - step / 4) * 0.9 if step < 4 else 1), rel=1e-12)


def test_no_warmup():
    assert rates(1.0, 1, end=10, warmup_iters=0) == [1.0]


def test_a_rate_of_zero_stays_zero_unless_the_released_behavior_is_asked_for():
    assert rates(0.0, 5, end=10, warmup_iters=2) == [0.0] * 5
    assert rates(0.0, 6, end=10, warmup_iters=2, lift_zero=True)[5] == pytest.approx(1e-6 * (1 - 0.5 ** 0.9))


def test_state_resumes_on_the_same_curve():
    options = dict(end=10, warmup_iters=3)
    whole = rates(1.0, 8, **options)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    first = WarmupPolyLR(optimizer, **options)
    for _ in range(4):
        optimizer.step()
        first.step()
    state = first.state_dict()
    other = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    second = WarmupPolyLR(other, **options)
    second.load_state_dict(state)
    other.step()
    second.step()
    assert other.param_groups[0]["lr"] == pytest.approx(whole[5])
