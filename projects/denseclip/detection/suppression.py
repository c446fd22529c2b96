"""Final boxes and proposals: above a score, one for each object, the best of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from mmengine.structures import InstanceData
from torch import Tensor
from torchvision.ops import batched_nms

from clipapps.registry import MODELS


@MODELS.register_module(name="DenseCLIPBoxSelection")
@dataclass
class BoxSelection:
    """From scored boxes to detections: boxes suppress others of their own class alone.

    Args:
        score_threshold: detections score higher than this.
        nms_iou: a box that overlaps a better one of its class by more than this is dropped.
        max_per_image: how many are kept.
        nms_pre: boxes of each level that go in, the best ones by their best class.

    >>> boxes, scores = torch.tensor([[0.0, 0, 9, 9], [0.0, 0, 9, 8]]), torch.tensor([[0.9, 0.2], [0.8, 0.0]])
    >>> BoxSelection()(boxes, scores).labels.tolist()
    [0, 1]
    """

    score_threshold: float = 0.05
    nms_iou: float = 0.5
    max_per_image: int = 100
    nms_pre: int = 1000

    def best_of_level(self, scores: Tensor) -> Tensor:
        """Indices of the `nms_pre` best rows of scores (N, K) by their best class, from high to low."""
        best = scores.max(dim=1).values
        return best.topk(min(self.nms_pre, len(best))).indices

    def __call__(self, boxes: Tensor, scores: Tensor) -> InstanceData:
        """Detections of one image.

        Args:
            boxes: (N, 4), or (N, K, 4) with one box a class.
            scores: (N, K) in 0..1, without a background column.

        Returns:
            `bboxes` (M, 4), `scores` (M,) from high to low, `labels` (M,).
        """
        rows, labels = (scores > self.score_threshold).nonzero(as_tuple=True)
        candidates = boxes[rows, labels] if boxes.dim() == 3 else boxes[rows]
        confidence = scores[rows, labels]
        kept = batched_nms(candidates, confidence, labels, self.nms_iou)[:self.max_per_image]
        return InstanceData(bboxes=candidates[kept], scores=confidence[kept], labels=labels[kept])


@MODELS.register_module(name="DenseCLIPProposalSelection")
@dataclass
class ProposalSelection:
    """From scored boxes of all levels to proposals: boxes suppress others of their own level alone.

    Args:
        nms_pre: boxes of each level that go in.
        nms_iou: a box that overlaps a better one of its level by more than this is dropped.
        max_per_image: how many are kept.

    >>> box = torch.tensor([[0.0, 0, 9, 9]])
    >>> len(ProposalSelection()([box.repeat(3, 1), box], [torch.rand(3), torch.rand(1)]))
    2
    """

    nms_pre: int = 1000
    nms_iou: float = 0.7
    max_per_image: int = 1000

    def __call__(self, boxes: Sequence[Tensor], scores: Sequence[Tensor]) -> InstanceData:
        """Proposals `bboxes` (M, 4), `scores` (M,) from high to low, of one image's levels (N_l, 4) and (N_l,)."""
        levels = torch.cat([torch.full_like(level, index, dtype=torch.long) for index, level in enumerate(scores)])
        candidates, confidence = torch.cat(list(boxes)), torch.cat(list(scores))
        has_area = (candidates[:, 2] > candidates[:, 0]) & (candidates[:, 3] > candidates[:, 1])
        candidates, confidence, levels = candidates[has_area], confidence[has_area], levels[has_area]
        kept = batched_nms(candidates, confidence, levels, self.nms_iou)[:self.max_per_image]
        return InstanceData(bboxes=candidates[kept], scores=confidence[kept])
