"""Pixel-text scores supervised by boxes: the auxiliary loss of DenseCLIP's detectors (section 3.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipapps.projects.denseclip.detection.samples import Samples
from clipapps.projects.denseclip.guidance import LanguageGuidance
from clipapps.registry import MODELS

LOSS_STRIDE = 4  # pixels per cell of the grid on which scores are supervised


@MODELS.register_module(name="DenseCLIPBoxScoreLoss")
class BoxScoreLoss(nn.Module):
    """Binary cross entropy of the scores inside the true boxes; what lies outside of all boxes carries no loss.

    The scores are resized to stride 4, where each cell inside a box is a positive example of the box's class and a
    negative one of every other class that has no box there. Instance masks are not used.

    Args:
        weight: of the loss.
        as_released: reproduce the released code, in which boxes end one cell early at the right and lower border, and
            boxes narrower than a cell can vanish. By default a box covers one cell at least.

    >>> loss = BoxScoreLoss()
    >>> target, inside = loss.targets(torch.tensor([[0.0, 0, 8, 4]]), torch.tensor([1]), num_classes=2, size=(2, 3))
    >>> target[1].tolist(), inside.sum().item()
    ([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]], 2.0)
    """

    def __init__(self, weight: float = 1.0, as_released: bool = False) -> None:
        super().__init__()
        self.weight, self.as_released = weight, as_released

    def forward(self, scores: Tensor, picture: tuple[int, int], samples: Samples) -> Tensor:
        """The loss.

        Args:
            scores: cosines over the temperature, (B, K, h, w).
            picture: (H, W) of the batch's images.
            samples: with their `gt_instances`.
        """
        logits = self.upsample(scores, picture)
        pairs = [self.targets(sample.gt_instances.bboxes, sample.gt_instances.labels, scores.shape[1],
                              (logits.shape[2], logits.shape[3])) for sample in samples]
        target, inside = (torch.stack(part) for part in zip(*pairs, strict=True))  # (B, K, h4, w4) and (B, h4, w4)
        errors = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        supervised = inside.sum().clamp(min=1.0) * scores.shape[1]  # without a box the loss is 0, not 0 / 0
        return self.weight * (errors * inside[:, None]).sum() / supervised

    def upsample(self, scores: Tensor, picture: tuple[int, int]) -> Tensor:
        """Scores (B, K, h, w) -> (B, K, H / 4, W / 4), in float32."""
        size = (picture[0] // LOSS_STRIDE, picture[1] // LOSS_STRIDE)
        return F.interpolate(scores.float(), size=size, mode="bilinear", align_corners=False)

    def targets(self, boxes: Tensor, labels: Tensor, num_classes: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """What the cells of an image should say, and which of them say something.

        Args:
            boxes: (G, 4) in pixels.
            labels: (G,).
            num_classes: K.
            size: (h, w) of the grid of stride 4.

        Returns:
            (K, h, w) with 1 where a box of the class lies, and (h, w) with 1 where any box lies; float32.
        """
        across, down = self._span(boxes[:, 0::2], size[1]), self._span(boxes[:, 1::2], size[0])
        cells = (down[:, :, None] & across[:, None, :]).float()  # (G, h, w)
        target = cells.new_zeros(num_classes, *size).index_add_(0, labels, cells).clamp(max=1.0)
        return target, target.amax(dim=0)

    def _span(self, ends: Tensor, length: int) -> Tensor:
        """Cells (G, length) between the two ends (G, 2) in pixels, the last one not included."""
        first, last = (ends / LOSS_STRIDE).trunc().long().unbind(dim=1)
        if self.as_released:
            first, last = first.clamp(0, length - 1), last.clamp(0, length - 1)
        else:
            first = first.clamp(0, length - 1)
            last = torch.maximum(last.clamp(max=length), first + 1)
        cells = torch.arange(length, device=ends.device)
        return (cells >= first[:, None]) & (cells < last[:, None])


class BoxGuidance(LanguageGuidance):
    """Language guidance of a detector: scores over the temperature, supervised inside boxes.

    Args:
        box_score_loss: config of a `BoxScoreLoss`; None: no such loss.
        concat_over_tau: as in `LanguageGuidance`; the published detectors concatenate scores over the temperature.
        **options: further arguments of `LanguageGuidance` and of the detector.
    """

    def __init__(self, *, box_score_loss: Mapping[str, Any] | None = None, concat_over_tau: bool = True,
                 **options: Any) -> None:
        super().__init__(concat_over_tau=concat_over_tau, **options)
        self.box_score_loss = None if box_score_loss is None else MODELS.build(box_score_loss)

    def encode_levels(self, images: Tensor) -> tuple[Sequence[Tensor], Tensor | None]:
        """Pyramid levels with score maps, and the score maps (B, K, h, w)."""
        features = self.encode(images)
        return features.levels, features.score_map

    def guidance_losses(self, score_map: Tensor | None, images: Tensor, samples: Samples) -> dict[str, Tensor]:
        """The auxiliary loss on the score maps."""
        if self.box_score_loss is None or score_map is None:
            return {}
        picture = (images.shape[2], images.shape[3])
        return dict(loss_aux_seg=self.box_score_loss(score_map / self.tau, picture, samples))
