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


def dense_distance(student: Tensor, teacher: Tensor) -> Tensor:
    """`cosine_distance` of two dense maps (B, D, h, w), the finer one averaged to the grid of the coarser one."""
    size = [min(sides) for sides in zip(student.shape[-2:], teacher.shape[-2:], strict=True)]
    return cosine_distance(F.adaptive_avg_pool2d(student, size), F.adaptive_avg_pool2d(teacher, size))


@MODELS.register_module()
class DistillationPretrainer(ContrastivePretrainer):
    """Trains the image tower of `backbone` towards a frozen teacher, whose text tower it takes over as it is.

    The loss is the contrastive one plus the cosine distance of pooled embeddings (feature distillation, CLIP-KD,
    section 3.2), plus the same at every position of the dense map: a small ViT learns from the places of a map what
    the pooled embedding alone tells it only after many more pictures.

    Args:
        backbone: a CLIPBackbone or its config; its text tower must be built like the teacher's.
        teacher: a CLIPBackbone or its config, with weights.
        teacher_dense: which dense map of the teacher is the target, "projected" or "value"; a ResNet's "value" map
            stays at its place, while its "projected" one mixes in the whole picture (MaskCLIP, arXiv 2112.01071).
        pooled_weight: factor on the distance of pooled embeddings; dense_weight: on that of dense maps, 0 for none.
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
                 teacher_dense: str = "value", pooled_weight: float = 10.0, dense_weight: float = 10.0,
                 **options: Any) -> None:
        super().__init__(backbone, **options)
        self.teacher: CLIPBackbone = MODELS.build(teacher) if isinstance(teacher, dict) else teacher
        if self.backbone.arch_config["text_cfg"] != self.teacher.arch_config["text_cfg"]:
            raise ConfigError("Student and teacher need the same text tower: give both backbones one `text_cfg`.")
        self.teacher.requires_grad_(False).eval()
        self.teacher.model.visual.to(memory_format=torch.channels_last)
        self.teacher_dense = teacher_dense
        self.pooled_weight, self.dense_weight = pooled_weight, dense_weight

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
        student = self.encode_images(inputs, "projected" if self.dense_weight else None)
        with torch.no_grad():
            teacher = self.encode_images(inputs, self.teacher_dense if self.dense_weight else None, self.teacher)
        losses = self.contrast(student.pooled, caption, meaning)
        losses["loss_pooled"] = self.pooled_weight * cosine_distance(student.pooled, teacher.pooled)
        if self.dense_weight:
            losses["loss_dense"] = self.dense_weight * dense_distance(student.dense, teacher.dense)
        return losses
