"""Distillation: what the loss is of, what is trained, and what is taken over from the teacher."""

from __future__ import annotations

import pytest
import torch

from clipapps.clip import CLIPBackbone
from clipapps.clip.tiny import TINY_ARCHS
from clipapps.errors import ConfigError
from clipapps.projects.pretrain.distillation import DistillationPretrainer, dense_distance

BATCH = (torch.randint(0, 255, (3, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),
         ["a red star", "a cup", "a blue tree"], torch.tensor([1, 2, 3]))
TEACHER = dict(type=CLIPBackbone, arch="tiny-rn", weights="builtin")
VIT = TINY_ARCHS["tiny-vit"]


def make(arch: object = "tiny-vit", **options: object) -> DistillationPretrainer:
    torch.manual_seed(0)
    student = dict(type=CLIPBackbone, arch=arch, trainable="image")
    return DistillationPretrainer(student, TEACHER, **options)


def test_dense_distance_averages_the_finer_map_first() -> None:
    coarse = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    fine = torch.tensor([[[1.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 1.0]]])[None]  # its mean is (0.5, 0.5)
    assert dense_distance(fine, coarse).item() == pytest.approx(1 - 0.5**0.5)
    assert dense_distance(coarse, fine).item() == pytest.approx(1 - 0.5**0.5)


def test_a_student_that_is_its_teacher_has_no_distance() -> None:
    model = make("tiny-rn", teacher_dense="projected", precision="float32")
    model.init_weights()
    model.backbone.model.load_state_dict(model.teacher.model.state_dict(), strict=False)
    model.eval()
    losses = model(*BATCH, mode="loss")
    assert losses["loss_pooled"].item() == pytest.approx(0, abs=2e-5)
    assert losses["loss_dense"].item() == pytest.approx(0, abs=2e-5)


def test_text_tower_is_taken_over_and_only_the_image_tower_learns() -> None:
    model = make()
    model.init_weights()
    names = ["a red star", "a cup"]
    assert torch.equal(model.backbone.encode_text(names), model.teacher.encode_text(names))
    assert torch.equal(model.backbone.logit_scale(), model.teacher.logit_scale())
    model.train()
    losses = model(*BATCH, mode="loss")
    (losses["loss"] + losses["loss_pooled"] + losses["loss_dense"]).backward()
    learned = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert learned == {f"backbone.model.visual.{name}" for name, _ in model.backbone.model.visual.named_parameters()}
    assert not model.teacher.training


def test_without_a_dense_weight_no_map_is_compared() -> None:
    model = make(dense_weight=0.0)
    model.init_weights()
    assert set(model(*BATCH, mode="loss")) == {"loss", "logit_scale", "accuracy", "loss_pooled"}


def test_other_text_towers_are_refused() -> None:
    with pytest.raises(ConfigError, match="same text tower"):
        make({**VIT, "text_cfg": {**VIT["text_cfg"], "layers": 2}})
