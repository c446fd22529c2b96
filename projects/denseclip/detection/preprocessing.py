"""From a batch of pictures of different sizes to what the backbone reads."""

from __future__ import annotations

import math
from typing import Any

from mmengine.model import ImgDataPreprocessor

from clipapps.projects.denseclip.preprocessing import BackboneStatistics
from clipapps.registry import MODELS


@MODELS.register_module(name="DenseCLIPDetPreprocessor")
class CLIPDetPreprocessor(BackboneStatistics, ImgDataPreprocessor):
    """BGR uint8 images -> RGB, normalized, padded with zeros at the right and lower border, and stacked.

    Mean and standard deviation are the backbone's. Each sample learns its own `pad_shape`.

    Args:
        pad_size_divisor: sides become multiples of this.
    """

    def __init__(self, pad_size_divisor: int = 32) -> None:
        super().__init__(pad_size_divisor=pad_size_divisor, bgr_to_rgb=True)

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Normalize and stack `data["inputs"]`, a list of (3, h, w)."""
        batch = super().forward(data, training)
        for sample in batch.get("data_samples") or ():
            padded = [math.ceil(side / self.pad_size_divisor) * self.pad_size_divisor for side in sample.img_shape[:2]]
            sample.set_metainfo(dict(pad_shape=tuple(padded)))
        return batch
