"""From a batch of images to what the backbone reads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from clipapps.projects.denseclip.mmseg_parts import SegDataPreProcessor
from clipapps.registry import MODELS


class BackboneStatistics(nn.Module):
    """A base of preprocessors that normalize with numbers which the model hands over."""

    def use_statistics(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Normalize with this mean and standard deviation (RGB, of pixels in 0..1)."""
        self._enable_normalize = True
        self.register_buffer("mean", 255 * torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std).view(-1, 1, 1), persistent=False)


@MODELS.register_module(name="DenseCLIPPreprocessor")
class CLIPSegPreprocessor(BackboneStatistics, SegDataPreProcessor):
    """BGR uint8 images -> RGB, normalized, then padded (image 0, label 255) and stacked.

    Mean and standard deviation are the backbone's: the model that owns this object hands them over, no config
    repeats them.

    Args:
        size: pad training images to this (height, width).
        size_divisor: or pad them to a multiple of this; exactly one of both.
        pad_val: value of padded pixels after normalization.
        seg_pad_val: label of padded pixels.
        test_cfg: `size` or `size_divisor` for evaluation; without it images are not padded.
    """

    def __init__(
        self,
        size: tuple[int, int] | None = None,
        size_divisor: int | None = None,
        pad_val: float = 0.0,
        seg_pad_val: int = 255,
        test_cfg: dict | None = None,
    ) -> None:
        super().__init__(size=size, size_divisor=size_divisor, pad_val=pad_val, seg_pad_val=seg_pad_val,
                         bgr_to_rgb=True, test_cfg=test_cfg)
