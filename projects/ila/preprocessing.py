"""From a batch of clips to what the model reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from clipapps.registry import MODELS, TRANSFORMS

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@MODELS.register_module()
class ILAPreprocessor(BaseDataPreprocessor):
    """Stacks clips, moves them to the model's device, normalizes them, and blends them while training.

    Args:
        mean, std: RGB, of pixels in 0..1. The released models were trained with ImageNet's numbers, not with CLIP's;
            None: those of the model's backbone.
        blending: config of a callable (clips (B, T, 3, H, W), labels (B,)) -> (clips, soft labels (B, K)), applied
            to training batches: mixup, cutmix.

    >>> batch = dict(inputs=[torch.zeros(4, 3, 8, 8, dtype=torch.uint8)] * 2, label=[0, 1])
    >>> ILAPreprocessor()(batch)["inputs"].shape
    torch.Size([2, 4, 3, 8, 8])
    """

    def __init__(self, mean: Sequence[float] | None = IMAGENET_MEAN, std: Sequence[float] | None = IMAGENET_STD,
                 blending: Mapping[str, Any] | None = None, non_blocking: bool = False) -> None:
        super().__init__(non_blocking=non_blocking)
        self.has_own_statistics = mean is not None and std is not None
        self.use_statistics(mean or (0.0,) * 3, std or (1.0,) * 3)
        self.blending: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
        if blending is not None:
            self.blending = TRANSFORMS.build(blending)

    def use_statistics(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Normalize with this mean and standard deviation."""
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, data: Mapping[str, Any], training: bool = False) -> dict[str, Any]:
        """A collated batch -> the same with `inputs` (B, [V,] T, 3, H, W) normalized floats and `label` a tensor."""
        batch = dict(data)
        if not isinstance(batch["inputs"], Tensor):
            batch["inputs"] = torch.stack(list(batch["inputs"]))
        if "label" in batch:
            batch["label"] = torch.as_tensor(batch["label"])
        batch = self.cast_data(batch)
        batch["inputs"] = self.normalize(batch["inputs"])
        if training and self.blending is not None:
            batch["inputs"], batch["label"] = self.blending(batch["inputs"], batch["label"])
        return batch

    def normalize(self, clips: Tensor) -> Tensor:
        """RGB clips (..., 3, H, W), uint8 or floats in 0..1 -> normalized floats."""
        pixels = clips if clips.is_floating_point() else clips.float() / 255
        return (pixels - self.mean) / self.std
