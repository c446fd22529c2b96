"""Anchors: the boxes that dense heads classify and refine (Faster R-CNN; RetinaNet, section 4)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from clipapps.errors import ConfigError
from clipapps.registry import MODELS

Size = tuple[int, int]


@MODELS.register_module(name="DenseCLIPAnchors")
class AnchorGenerator:
    """Boxes of several shapes around the upper left corner of every cell of every level.

    Args:
        strides: pixels per cell of each level, which is also the side of a level's base box.
        ratios: height over width.
        scales: side over the base box's side; or left out for the next two.
        octave_base_scale: smallest scale of `scales_per_octave` scales that rise by equal factors up to the double.
        scales_per_octave: their number.

    >>> anchors = AnchorGenerator(strides=[8, 16], octave_base_scale=4, scales_per_octave=3)
    >>> [tuple(level.shape) for level in anchors.grid([(4, 6), (2, 3)])]
    [(216, 4), (54, 4)]
    """

    def __init__(self, strides: Sequence[int], ratios: Sequence[float] = (0.5, 1.0, 2.0),
                 scales: Sequence[float] | None = None, octave_base_scale: float | None = None,
                 scales_per_octave: int | None = None) -> None:
        has_octave = octave_base_scale is not None and scales_per_octave is not None
        if (scales is None) != has_octave:
            raise ConfigError("Anchors need either scales, or octave_base_scale and scales_per_octave.")
        base, count = octave_base_scale or 1.0, scales_per_octave or 1
        self.strides, self.ratios = list(strides), list(ratios)
        self.scales = list(scales or (base * 2 ** (index / count) for index in range(count)))

    @property
    def per_cell(self) -> int:
        """Anchors A of one cell."""
        return len(self.ratios) * len(self.scales)

    def cell(self, stride: int) -> Tensor:
        """Anchors of the cell at the origin, ratio by ratio and in each scale by scale, (A, 4) float32."""
        sides = [(stride * scale / math.sqrt(ratio), stride * scale * math.sqrt(ratio))
                 for ratio in self.ratios for scale in self.scales]
        return torch.tensor([(-width / 2, -height / 2, width / 2, height / 2) for width, height in sides])

    def grid(self, sizes: Sequence[Size], device: torch.device | str = "cpu") -> list[Tensor]:
        """Anchors (h * w * A, 4) of levels of these sizes (h, w): rows of cells, cells, anchors of a cell."""
        self._check_levels(sizes)
        levels = []
        for stride, (height, width) in zip(self.strides, sizes, strict=True):
            y, x = torch.meshgrid(stride * torch.arange(height), stride * torch.arange(width), indexing="ij")
            corners = torch.stack([x, y, x, y], dim=-1).reshape(-1, 1, 4)  # (h * w, 1, 4)
            levels.append((corners + self.cell(stride)).reshape(-1, 4).to(device))
        return levels

    def inside(self, sizes: Sequence[Size], picture: Size, device: torch.device | str = "cpu") -> list[Tensor]:
        """Which anchors have their cell in a picture of this (height, width) rather than in the batch's padding."""
        flags = []
        for stride, (height, width) in zip(self.strides, sizes, strict=True):
            rows = torch.arange(height) < math.ceil(picture[0] / stride)
            columns = torch.arange(width) < math.ceil(picture[1] / stride)
            cells = (rows[:, None] & columns[None, :]).flatten()
            flags.append(cells.repeat_interleave(self.per_cell).to(device))
        return flags

    def _check_levels(self, sizes: Sequence[Size]) -> None:
        if len(sizes) != len(self.strides):
            raise ConfigError(f"The neck gives {len(sizes)} levels, the anchors have {len(self.strides)} strides.")
