"""Distillation: what the loss is of, what is trained, and what is taken over from the teacher."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from clipapps.clip import CLIPBackbone
from clipapps.clip.tiny import TINY_ARCHS
from clipapps.engine.config import load_config
from clipapps.engine.runner import train
from clipapps.errors import ConfigError
from clipapps.projects.pretrain.distillation import DistillationPretrainer, answer_divergence, to_coarser_grid

BATCH = (torch.randint(0, 255, (3, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),
         ["a red star", "a cup", "a blue tree"], torch.tensor([1, 2, 3]))
TEACHER = dict(type=CLIPBackbone, arch="tiny-rn", weights="builtin")
VIT = TINY_ARCHS["tiny-vit"]


def make(arch: object = "tiny-vit", **options: object) -> DistillationPretrainer:
    torch.manual_seed(0)
    student = dict(type=CLIPBackbone, arch=arch, trainable="image")
    return DistillationPretrainer(student, TEACHER, **options)


def test_the_finer_map_is_averaged() -> None:
    coarse = torch.rand(1, 2, 1, 1)
    fine = torch.tensor([[[1.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 3.0]]])[None]
    for ours, theirs in (to_coarser_grid(fine, coarse), to_coarser_grid(coarse, fine)[::-1]):
        assert ours.flatten().tolist() == [0.5, 1.0]
        assert torch.equal(theirs, coarse)


def test_answer_divergence_by_hand() -> None:
    teacher, student = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 5.0]])
    right, wrong = math.e / (1 + math.e), 1 / (1 + math.e)  # softmax of cosines (1, 0) at scale 1
    expected = right * math.log(right / wrong) + wrong * math.log(wrong / right)
    assert answer_divergence(student, teacher, torch.eye(2), 1.0).item() == pytest.approx(expected, rel=1e-6)


def test_a_student_that_is_its_teacher_has_no_distance() -> None:
    model = make("tiny-rn", teacher_dense="projected", answers=("category",), dense_answers="category")
    model.init_weights()
    model.backbone.model.load_state_dict(model.teacher.model.state_dict(), strict=False)
    model.eval()
    losses = model(*BATCH, mode="loss")
    for name in ("loss_pooled", "loss_dense", "loss_answers", "loss_dense_answers"):
        assert losses[name].item() == pytest.approx(0, abs=2e-5), name


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


def test_models_initialize_after_a_run_has_closed_its_log(tmp_path: Path) -> None:
    train(load_config("denseclip/fpn_tiny_toyworld", [
        "model.backbone.weights=None", "train_cfg.max_iters=1", "train_cfg.val_interval=1",
        "val_dataloader.dataset.num_scenes=2"]), work_dir=tmp_path, device="cpu")
    model = make()
    model.init_weights()
    names = ["a red star", "a cup"]
    assert torch.equal(model.backbone.encode_text(names), model.teacher.encode_text(names))


def test_the_student_sees_smaller_pictures_than_the_teacher_in_drawn_sizes() -> None:
    model = make(image_sizes=(16, 32))
    model.init_weights()
    inputs, *texts = BATCH
    seen = []
    model.backbone.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    model.teacher.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    for _ in range(8):
        model(inputs, *texts, mode="loss")
    students, teachers = seen[::2], seen[1::2]
    assert {image.shape[-1] for image in teachers} == {64} and {image.shape[-1] for image in students} == {16, 32}
    for student, teacher in zip(students, teachers, strict=True):
        assert torch.allclose(F.adaptive_avg_pool2d(teacher, student.shape[-1]), student, atol=1e-5)
