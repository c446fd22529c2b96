"""A step that is not finite leaves no trace in the model."""

from __future__ import annotations

import copy

import pytest
import torch
from engine_toy_task import ToyModel
from mmengine.optim import OptimWrapper

from clipapps.engine.finite_guard import FiniteGuard, guarded


def batch(seed: int = 0) -> dict:
    generator = torch.Generator().manual_seed(seed)
    return dict(inputs=list(torch.randn(6, 4, generator=generator)), label=[0, 1, 0, 1, 0, 1])


def wrapped(model: ToyModel, **arguments) -> OptimWrapper:
    return guarded(OptimWrapper)(optimizer=torch.optim.AdamW(model.parameters(), lr=0.1), **arguments)


def state(model: ToyModel) -> dict[str, torch.Tensor]:
    return copy.deepcopy(model.state_dict())


def equal(first: dict, second: dict) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("trouble", [dict(poison=(2,)), dict(burst=(2,))])
def test_weights_statistics_and_optimizer_stay_bit_for_bit(trouble):
    torch.manual_seed(0)
    model = ToyModel(**trouble)
    wrapper = wrapped(model)
    model.train_step(batch(0), wrapper)
    before, moments = state(model), copy.deepcopy(wrapper.optimizer.state_dict())
    model.train_step(batch(1), wrapper)
    assert wrapper.was_skipped
    assert equal(before, state(model))
    after = wrapper.optimizer.state_dict()["state"]
    assert all(torch.equal(after[key]["exp_avg"], moments["state"][key]["exp_avg"]) for key in after)
    model.train_step(batch(2), wrapper)
    assert not wrapper.was_skipped
    assert not equal(before, state(model))


def test_inputs_that_are_not_finite_do_not_reach_the_statistics():
    model = ToyModel()
    wrapper = wrapped(model)
    before = state(model)
    model.train_step(dict(inputs=list(torch.full((4, 4), float("nan"))), label=[0, 1, 0, 1]), wrapper)
    assert wrapper.was_skipped
    assert equal(before, state(model))


def test_without_trouble_it_is_the_plain_wrapper():
    results = []
    for kind in (OptimWrapper, guarded(OptimWrapper)):
        torch.manual_seed(0)
        model = ToyModel()
        wrapper = kind(optimizer=torch.optim.AdamW(model.parameters(), lr=0.1), clip_grad=dict(max_norm=0.5),
                       accumulative_counts=2)
        wrapper.initialize_count_status(model, 0, 6)
        for step in range(6):
            model.train_step(batch(step), wrapper)
        results.append(state(model))
    assert equal(*results)


def test_one_bad_step_of_an_accumulation_is_left_out():
    torch.manual_seed(0)
    model = ToyModel(poison=(2,))
    wrapper = wrapped(model, accumulative_counts=2)
    wrapper.initialize_count_status(model, 0, 4)
    before = state(model)
    for step in range(2):
        model.train_step(batch(step), wrapper)
    assert equal({k: v for k, v in before.items() if "net.1" not in k}, state(model))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_one_class_per_wrapper():
    assert guarded(OptimWrapper) is guarded(OptimWrapper)
    assert issubclass(guarded(OptimWrapper), (FiniteGuard, OptimWrapper))
    assert guarded(OptimWrapper).__name__ == "OptimWrapper"
