"""Pre-training an image tower from a trained CLIP whose text tower it keeps (after CLIP-KD, arXiv 2307.12732)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from clipapps.clip import CLIPBackbone
from clipapps.errors import ConfigError
from clipapps.registry import MODELS

from .models import ContrastivePretrainer


def cosine_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean of one minus the cosine similarity along dimension 1, 0..2.

    >>> cosine_distance(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])).item()
    1.0
    """
    return (1 - F.cosine_similarity(student.float(), teacher.float(), dim=1)).mean()


def to_coarser_grid(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Two dense maps (B, D, h, w), the finer one averaged to the grid of the coarser one."""
    size = (min(first.shape[-2], second.shape[-2]), min(first.shape[-1], second.shape[-1]))
    return F.adaptive_avg_pool2d(first.float(), size), F.adaptive_avg_pool2d(second.float(), size)


def answer_divergence(student: Tensor, teacher: Tensor, names: Tensor, scale: float) -> Tensor:
    """Kullback-Leibler divergence of the student's zero-shot answer from the teacher's, meaned over embeddings.

    Args:
        student, teacher: (N, D) image embeddings; names: (K, D) normalized text embeddings of the possible answers.
        scale: factor on the cosine similarities before the softmax.

    >>> image, names = torch.tensor([[1.0, 0.0]]), torch.eye(2)
    >>> answer_divergence(image, 3 * image, names, scale=20.0).item()
    0.0
    """
    theirs, ours = ((scale * F.normalize(embeds.float(), dim=-1) @ names.t()).log_softmax(dim=-1)
                    for embeds in (teacher, student))
    return F.kl_div(ours, theirs, reduction="batchmean", log_target=True)


@MODELS.register_module()
class DistillationPretrainer(ContrastivePretrainer):
    """Trains the image tower of `backbone` towards a frozen teacher, whose text tower it takes over as it is.

    The loss is the contrastive one plus the cosine distance of pooled embeddings (feature distillation, CLIP-KD,
    section 3.2), plus the same at every position of the dense map, plus the divergence of zero-shot answers. The last
    is what makes a small ViT learn shapes: colors and backgrounds fill most of an embedding, so a student can come
    close to it and still not tell a fish from a boat.

    Args:
        backbone: a CLIPBackbone or its config; its text tower must be built like the teacher's.
        teacher: a CLIPBackbone or its config, with weights.
        image_sizes: the student sees a batch averaged down to one of these sides, drawn anew each time, and the teacher
            the pictures as they are; empty: both do.
        teacher_dense: which dense map of the teacher is the target, "projected" or "value"; a ResNet's "value" map
            stays at its place, while its "projected" one mixes in the whole picture (MaskCLIP, arXiv 2112.01071).
        pooled_weight: factor on the distance of pooled embeddings; dense_weight: on that of dense maps, 0 for none.
        answers: names of probes whose answers are distilled from pooled embeddings.
        dense_answers: the probe whose answers are distilled at every position.
        answer_weight: factor on each of these divergences, 0 for none; answer_scale: see `answer_divergence`.
        **options: as for `ContrastivePretrainer`.

    Raises:
        ConfigError: the text towers differ.

    >>> clip = dict(type=CLIPBackbone, arch="tiny-rn")
    >>> model = DistillationPretrainer(clip | dict(trainable="image"), teacher=clip)
    >>> images = torch.randint(0, 255, (2, 3, 64, 64), dtype=torch.uint8)
    >>> sorted(model(images, ["a red star", "a cup"], torch.tensor([1, 2]), mode="loss"))
    ['accuracy', 'logit_scale', 'loss', 'loss_dense', 'loss_pooled']
    """

    def __init__(self, backbone: CLIPBackbone | dict[str, Any], teacher: CLIPBackbone | dict[str, Any],
                 image_sizes: Sequence[int] = (), teacher_dense: str = "value", pooled_weight: float = 10.0,
                 dense_weight: float = 10.0, answers: Sequence[str] = (), dense_answers: str | None = None,
                 answer_weight: float = 1.0, answer_scale: float = 40.0, **options: Any) -> None:
        super().__init__(backbone, **options)
        self.teacher: CLIPBackbone = MODELS.build(teacher) if isinstance(teacher, dict) else teacher
        if self.backbone.arch_config["text_cfg"] != self.teacher.arch_config["text_cfg"]:
            raise ConfigError("Student and teacher need the same text tower: give both backbones one `text_cfg`.")
        self.teacher.requires_grad_(False).eval()
        self.teacher.model.visual.to(memory_format=torch.channels_last)
        self.image_sizes, self.teacher_dense = tuple(image_sizes), teacher_dense
        self.pooled_weight, self.dense_weight = pooled_weight, dense_weight
        self.answers, self.dense_answers = tuple(answers), dense_answers
        self.answer_weight, self.answer_scale = answer_weight, answer_scale
        self._names: dict[str, Tensor] = {}

    def init_weights(self) -> None:
        """Loads the teacher and gives its text tower and temperature to the student."""
        super().init_weights()
        self.teacher.init_weights()
        theirs = {name: value for name, value in self.teacher.model.state_dict().items()
                  if not name.startswith("visual.")}
        self.backbone.model.load_state_dict(theirs, strict=False)

    def train(self, mode: bool = True) -> DistillationPretrainer:
        """The teacher stays in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def loss(self, inputs: Tensor, caption: Sequence[str], meaning: Tensor) -> dict[str, Tensor]:
        """The contrastive loss and the weighted distances to the teacher."""
        student = self.encode_images(self._for_student(inputs), "projected" if self.dense_weight else None)
        with torch.no_grad():
            teacher = self.encode_images(inputs, self.teacher_dense if self.dense_weight else None, self.teacher)
        assert student.pooled is not None and teacher.pooled is not None
        losses = self.contrast(student.pooled, caption, meaning)
        losses["loss_pooled"] = self.pooled_weight * cosine_distance(student.pooled, teacher.pooled)
        if self.answers:
            parts = [self._divergence(student.pooled, teacher.pooled, name) for name in self.answers]
            losses["loss_answers"] = torch.stack(parts).sum()
        if student.dense is not None and teacher.dense is not None:
            ours, theirs = to_coarser_grid(student.dense, teacher.dense)
            losses["loss_dense"] = self.dense_weight * cosine_distance(ours, theirs)
            if self.dense_answers:
                ours, theirs = (embeds.flatten(2).transpose(1, 2).flatten(0, 1) for embeds in (ours, theirs))
                losses["loss_dense_answers"] = self._divergence(ours, theirs, self.dense_answers)
        return losses

    def _for_student(self, inputs: Tensor) -> Tensor:
        if not self.image_sizes:
            return inputs
        side = self.image_sizes[int(torch.randint(len(self.image_sizes), ()))]
        return F.adaptive_avg_pool2d(inputs.float(), side)

    def _divergence(self, student: Tensor, teacher: Tensor, probe: str) -> Tensor:
        if probe not in self._names:  # the text tower is frozen
            with torch.no_grad():
                self._names[probe] = self._probe(probe).to(student.device)
        return self.answer_weight * answer_divergence(student, teacher, self._names[probe], self.answer_scale)
