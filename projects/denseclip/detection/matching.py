"""Which true object a reference box answers for, and which boxes a loss looks at (Faster R-CNN, section 3.1.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import box_iou

from clipapps.errors import ConfigError
from clipapps.projects.denseclip.detection.box_coder import BoxCoder
from clipapps.registry import MODELS

NEGATIVE, IGNORED = -1, -2


@MODELS.register_module(name="DenseCLIPMatcher")
class MaxIoUAssigner:
    """Assign each box to the object that it overlaps most, to the background, or to nothing.

    Args:
        pos_iou: boxes with at least this overlap are positive.
        neg_iou: boxes below this overlap are background; those between are ignored.
        min_pos_iou: least overlap at which an object claims its best boxes; without any overlap it claims none.
        match_low_quality: let every object claim all boxes that overlap it as much as its best one does, whatever
            `pos_iou` says; of objects that claim the same box the last one gets it.

    >>> assigner = MaxIoUAssigner(pos_iou=0.5, neg_iou=0.4)
    >>> boxes = torch.tensor([[0.0, 0, 10, 10], [0.0, 0, 10, 5], [50.0, 50, 60, 60]])
    >>> assigner(boxes, torch.tensor([[0.0, 0, 10, 11]])).tolist()
    [0, -2, -1]
    """

    def __init__(self, pos_iou: float, neg_iou: float, min_pos_iou: float = 0.0,
                 match_low_quality: bool = True) -> None:
        if not 0 <= neg_iou <= pos_iou <= 1:
            raise ConfigError(f"An assigner needs 0 <= neg_iou <= pos_iou <= 1, not {neg_iou} and {pos_iou}.")
        self.pos_iou, self.neg_iou = pos_iou, neg_iou
        self.min_pos_iou, self.match_low_quality = min_pos_iou, match_low_quality

    def __call__(self, boxes: Tensor, objects: Tensor) -> Tensor:
        """Index of the object of each box, (N,) int64; NEGATIVE for background, IGNORED for neither.

        Args:
            boxes: (N, 4).
            objects: (G, 4); with G = 0 every box is background.
        """
        if not len(objects) or not len(boxes):
            return boxes.new_full((len(boxes),), NEGATIVE, dtype=torch.long)
        overlaps = box_iou(objects, boxes).nan_to_num(0.0)  # (G, N); two empty boxes would give 0 / 0
        best, assigned = overlaps.max(dim=0)
        assigned[best < self.pos_iou] = IGNORED
        assigned[best < self.neg_iou] = NEGATIVE
        if self.match_low_quality:
            best_of_object = overlaps.max(dim=1, keepdim=True).values
            can_claim = (best_of_object >= self.min_pos_iou) & (best_of_object > 0)
            claims = (overlaps == best_of_object) & can_claim  # (G, N)
            order = torch.arange(1, len(objects) + 1, device=boxes.device)[:, None]
            last = (claims * order).max(dim=0).values  # 0: nobody
            assigned = torch.where(last > 0, last - 1, assigned)
        return assigned


@MODELS.register_module(name="DenseCLIPSampler")
class RandomSampler:
    """Draw a batch of boxes from an assignment, from torch's global generator.

    Args:
        num: boxes of a batch.
        pos_fraction: share of them that may be positive; the rest is filled with background.

    >>> positive, negative = RandomSampler(num=4, pos_fraction=0.25)(torch.tensor([0, 1, 0, -1, -1, -1, -1, -2]))
    >>> len(positive), len(negative)
    (1, 3)
    """

    def __init__(self, num: int, pos_fraction: float) -> None:
        self.num, self.pos_fraction = num, pos_fraction

    def __call__(self, assigned: Tensor) -> tuple[Tensor, Tensor]:
        """Indices of the positive and of the background boxes drawn."""
        positive = _draw((assigned >= 0).nonzero().flatten(), int(self.num * self.pos_fraction))
        negative = _draw((assigned == NEGATIVE).nonzero().flatten(), self.num - len(positive))
        return positive, negative


def _draw(indices: Tensor, count: int) -> Tensor:
    if len(indices) <= count:
        return indices
    return indices[torch.randperm(len(indices), device=indices.device)[:count]]


@dataclass
class AnchorTargets:
    """What the outputs of N anchors of one image should be.

    Args:
        labels: class of each anchor, (N,); `num_classes` is background.
        weights: 1.0 where the classification counts, (N,).
        offsets: of the positive anchors, (P, 4).
        positive: indices of the positive anchors, (P,).
        num_negative: background anchors that count.
    """

    labels: Tensor
    weights: Tensor
    offsets: Tensor
    positive: Tensor
    num_negative: int


class AnchorMatcher:
    """From the objects of an image to the targets of its anchors.

    Args:
        assigner: who answers for whom.
        sampler: which boxes count; None: all that the assigner does not ignore.
        coder: makes offsets of boxes.
        num_classes: classes K; the background's label.
    """

    def __init__(self, assigner: MaxIoUAssigner, sampler: RandomSampler | None, coder: BoxCoder,
                 num_classes: int) -> None:
        self.assigner, self.sampler, self.coder, self.num_classes = assigner, sampler, coder, num_classes

    def __call__(self, anchors: Tensor, inside: Tensor, objects: Tensor, labels: Tensor) -> AnchorTargets:
        """Targets of anchors (N, 4), of which only those `inside` (N,) count, for objects (G, 4) with labels (G,)."""
        candidates = inside.nonzero().flatten()
        assigned = torch.full((len(anchors),), IGNORED, dtype=torch.long, device=anchors.device)
        assigned[candidates] = self.assigner(anchors[candidates], objects)
        if self.sampler is None:
            positive, negative = (assigned >= 0).nonzero().flatten(), (assigned == NEGATIVE).nonzero().flatten()
        else:
            positive, negative = self.sampler(assigned)
        positive = positive.sort().values
        classes = labels.new_full((len(anchors),), self.num_classes)
        classes[positive] = labels[assigned[positive]]
        weights = anchors.new_zeros(len(anchors))
        weights[positive] = weights[negative] = 1.0
        offsets = self.coder.encode(anchors[positive], objects[assigned[positive]])
        return AnchorTargets(classes, weights, offsets, positive, len(negative))
