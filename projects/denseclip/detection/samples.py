"""What a detector reads and gives back for one image."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor


class DetectionSample(BaseDataElement):
    """One image's objects, true ones and predicted ones.

    `gt_instances`, in pixels of the resized picture: `bboxes` (G, 4) left, top, right, bottom; `labels` (G,); where the
    pipeline loads them `masks` (G, h, w) uint8. `pred_instances`, in pixels of the original picture: `bboxes` (N, 4),
    `scores` (N,) in 0..1, highest first, `labels` (N,), with a mask head `masks` (N, H, W) bool.

    Metadata: `img_shape` (h, w) of the resized picture, `ori_shape` (H, W), `scale_factor` (w / W, h / H), `pad_shape`
    (the resized picture padded to the stride), `img_id`, `instances` (the annotations, for evaluation).

    >>> import torch
    >>> sample = DetectionSample(metainfo=dict(img_shape=(64, 96)))
    >>> sample.gt_instances = InstanceData(bboxes=torch.rand(3, 4), labels=torch.arange(3))
    >>> len(sample.gt_instances)
    3
    """

    gt_instances: InstanceData
    pred_instances: InstanceData


Samples = Sequence[DetectionSample]


def padded_shape(sample: DetectionSample) -> tuple[int, int]:
    """(height, width) of the picture with its own padding; other pictures of the batch may be larger."""
    height, width = sample.get("pad_shape", sample.img_shape)[:2]
    return int(height), int(width)


def scale_of(sample: DetectionSample, like: Tensor) -> Tensor:
    """Resized pixels per original pixel for each side of a box, (4,); ones when nothing was resized."""
    factor = sample.get("scale_factor", (1.0, 1.0))
    across, down = (factor, factor) if isinstance(factor, (int, float)) else tuple(factor)[:2]
    return like.new_tensor([across, down, across, down])
