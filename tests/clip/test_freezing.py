"""Trainable parameters and learning rates by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import nn

from clipapps.clip import CLIPBackbone, parameter_groups

Build = Callable[..., CLIPBackbone]


def _trainable(backbone: CLIPBackbone) -> set[str]:
    return {name for name, p in backbone.model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(("trainable", "inside", "outside"), [
    ("image", "visual.conv1.weight", "ln_final.weight"),
    ("text", "ln_final.weight", "visual.conv1.weight"),
    ("norm", "visual.ln_post.bias", "visual.conv1.weight"),
    ("last:1", "visual.transformer.resblocks.2.ln_1.weight", "visual.transformer.resblocks.1.ln_1.weight"),
    (["visual.proj", "transformer.*"], "transformer.resblocks.0.ln_1.weight", "visual.ln_post.bias"),
    (lambda name, p: p.ndim == 1, "visual.class_embedding", "visual.proj"),
])
def test_parameters_are_chosen_by_name(build: Build, trainable: object, inside: str, outside: str) -> None:
    chosen = _trainable(build("vit_token", trainable=trainable))
    assert inside in chosen and outside not in chosen


def test_all_and_none(build: Build) -> None:
    assert not _trainable(build("resnet", trainable="none"))
    assert len(_trainable(build("resnet", trainable="all"))) == len(list(build("resnet").model.parameters()))


def test_last_stage_of_a_resnet_includes_its_pool(build: Build) -> None:
    chosen = _trainable(build("resnet", trainable="last:1"))
    assert {name.split(".")[1] for name in chosen} == {"layer4", "attnpool"}


def test_longest_pattern_sets_the_rate_and_frozen_parameters_are_left_out() -> None:
    model = nn.ModuleDict({"backbone": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    model["head"].bias.requires_grad_(False)
    groups = parameter_groups(model, 1.0, 0.1, lr_mult={"backbone.*": 0.1, "backbone.bias": 0.5},
                              decay_mult={"*.bias": 0.0})
    assert sorted((g["lr"], g["weight_decay"], len(g["params"])) for g in groups) == [
        (0.1, 0.1, 1), (0.5, 0.0, 1), (1.0, 0.1, 1)]
