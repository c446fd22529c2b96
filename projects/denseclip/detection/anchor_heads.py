"""What heads on anchors share: flattening of their maps, and their losses level by level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clipapps.projects.denseclip.detection.anchors import AnchorGenerator
from clipapps.projects.denseclip.detection.matching import AnchorMatcher, AnchorTargets
from clipapps.projects.denseclip.detection.samples import Samples, padded_shape

LabelLoss = Callable[[Tensor, Tensor], Tensor]


@dataclass
class AnchorOutputs:
    """What a head says about the anchors of each level; N_l = h * w * A anchors.

    Args:
        logits: of each level (B, N_l, C), float32.
        offsets: of each level (B, N_l, 4), float32.
        sizes: (h, w) of each level.
    """

    logits: list[Tensor]
    offsets: list[Tensor]
    sizes: list[tuple[int, int]]

    @classmethod
    def from_maps(cls, class_maps: Sequence[Tensor], box_maps: Sequence[Tensor], per_cell: int) -> AnchorOutputs:
        """From maps (B, A * C, h, w) and (B, A * 4, h, w) of each level."""
        return cls([_by_anchor(level, per_cell) for level in class_maps],
                   [_by_anchor(level, per_cell) for level in box_maps],
                   [(level.shape[2], level.shape[3]) for level in class_maps])


def _by_anchor(level: Tensor, per_cell: int) -> Tensor:
    """(B, A * C, h, w) -> (B, h * w * A, C)."""
    level = level.float().permute(0, 2, 3, 1)
    return level.reshape(len(level), -1, level.shape[3] // per_cell)


def match_anchors(outputs: AnchorOutputs, anchors: AnchorGenerator, matcher: AnchorMatcher, samples: Samples,
                  with_classes: bool = True) -> list[AnchorTargets]:
    """Targets of the anchors of each image; without classes every object is an object and nothing more (label 0)."""
    device = outputs.logits[0].device
    boxes = torch.cat(anchors.grid(outputs.sizes, device))
    targets = []
    for sample in samples:
        inside = torch.cat(anchors.inside(outputs.sizes, padded_shape(sample), device))
        truth = sample.gt_instances
        labels = truth.labels if with_classes else torch.zeros_like(truth.labels)
        targets.append(matcher(boxes, inside, truth.bboxes, labels))
    return targets


def anchor_losses(outputs: AnchorOutputs, targets: Sequence[AnchorTargets], label_loss: LabelLoss,
                  divisor: float) -> tuple[list[Tensor], list[Tensor]]:
    """Classification and box loss of each level, both divided by the same number.

    Args:
        outputs: of the head.
        targets: one an image.
        label_loss: (logits (B, N_l, C), one-hot targets (B, N_l, C)) -> loss of each element.
        divisor: anchors that the losses are averaged over.
    """
    counts = [level.shape[1] for level in outputs.logits]
    labels = torch.stack([target.labels for target in targets]).split(counts, dim=1)
    weights = torch.stack([target.weights for target in targets]).split(counts, dim=1)
    of_classes = []
    for logits, classes, weight in zip(outputs.logits, labels, weights, strict=True):
        wanted = torch.zeros_like(logits)
        image, anchor = (classes < logits.shape[2]).nonzero(as_tuple=True)
        wanted[image, anchor, classes[image, anchor]] = 1.0
        of_classes.append((label_loss(logits, wanted) * weight[..., None]).sum() / divisor)
    return of_classes, _box_losses(outputs, targets, counts, divisor)


def _box_losses(outputs: AnchorOutputs, targets: Sequence[AnchorTargets], counts: Sequence[int],
                divisor: float) -> list[Tensor]:
    """L1 distance of the positive anchors' offsets, level by level."""
    offsets = torch.cat(outputs.offsets, dim=1)
    ends = torch.tensor(counts, device=offsets.device).cumsum(0)
    sums = [level.sum() * 0 for level in outputs.offsets]  # levels without a positive anchor keep their gradient path
    for image, target in enumerate(targets):
        errors = (offsets[image, target.positive] - target.offsets).abs().sum(dim=1)
        levels = torch.bucketize(target.positive, ends, right=True)
        sums = [total + errors[levels == level].sum() for level, total in enumerate(sums)]
    return [total / divisor for total in sums]
