"""Groups of parameters, the learning-rate curve, and the decay of the offsets."""

from __future__ import annotations

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch.optim import SGD

from clipapps.errors import ConfigError
from clipapps.projects.ila.hooks import OffsetDecay, offset_at
from clipapps.projects.ila.optimization import ILAParameterGroups, WarmupCosineLR

GROUPS = [dict(names=["message_"], lr=5e-4, weight_decay=1e-2), dict(names=["temporal_"], lr=8e-5, weight_decay=1e-3),
          dict(names=["mit.", "head."], lr=4e-4, weight_decay=3e-3)]


def wrapper(model, groups=GROUPS):
    return build_optim_wrapper(model, dict(type="OptimWrapper", constructor=ILAParameterGroups, groups=groups,
                                           optimizer=dict(type=SGD, lr=1.0)))


def test_vectors_biases_and_positions_are_not_decayed(small_model):
    model = small_model()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = wrapper(model).optimizer.param_groups
    assert sorted({(group["lr"], group["weight_decay"]) for group in groups}) == [
        (8e-5, 0.0), (8e-5, 1e-3), (4e-4, 0.0), (4e-4, 3e-3), (5e-4, 0.0), (5e-4, 1e-2)]
    free = {names[id(parameter)] for group in groups if not group["weight_decay"] for parameter in group["params"]}
    assert "mit.positional_embedding" in free and "inserts.0.message_ln.weight" in free
    assert not any(name.endswith("fc.weight") for name in free)
    assert sum(len(group["params"]) for group in groups) == sum(p.requires_grad for p in model.parameters())


def test_a_trainable_parameter_without_a_group_is_an_error(small_model):
    with pytest.raises(ConfigError, match="no group names"):
        wrapper(small_model(), GROUPS[:1])
    with pytest.raises(ConfigError, match="names, lr and weight_decay"):
        wrapper(small_model(), [dict(names=["mit."])])


def test_the_rate_moves_only_with_optimizer_steps():
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = WarmupCosineLR(optimizer, end=40, warmup=8, eta_min=0.1, accumulation=4)
    optimizer.step()
    rates = []
    for _ in range(40):
        rates.append(round(optimizer.param_groups[0]["lr"], 4))
        schedule.step()
    assert rates[:13] == [0, 0, 0, 0, 0.375, 0.375, 0.375, 0.375, 0.875, 0.875, 0.875, 0.875, rates[12]]
    assert rates[12] == pytest.approx(0.1 + 0.45 * (1 + torch.cos(torch.tensor(torch.pi * 11 / 40)).item()), abs=1e-4)
    assert optimizer.param_groups[0]["lr"] < 0.102


def test_epochs_must_be_converted():
    with pytest.raises(ConfigError, match="convert_to_iter_based"):
        WarmupCosineLR(SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0), end=4, by_epoch=True)


def test_the_offset_depends_on_the_epoch_alone(small_model):
    class Run:
        model, epoch = small_model(), 40

    OffsetDecay().before_train_epoch(Run)
    assert Run.model.inserts[1].message_attn.disturbance == pytest.approx(0.2 * 0.5**11)
    assert offset_at(49) == pytest.approx(1.9e-7, rel=0.01) and offset_at(29) == 0.2
