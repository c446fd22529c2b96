"""Boxes as offsets from reference boxes, and back (R-CNN, appendix C)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from clipapps.registry import MODELS

MAX_LOG_SIDE = abs(math.log(16 / 1000))  # a side grows or shrinks by a factor of 62.5 at most


@MODELS.register_module(name="DenseCLIPBoxCoder")
class BoxCoder:
    """Offsets (dx, dy, dw, dh): dx = (x - x0) / w0 of the centers, dw = log(w / w0), divided by `stds`.

    Args:
        stds: of the four offsets; (0.1, 0.1, 0.2, 0.2) for regions, ones for anchors.

    >>> coder, anchor = BoxCoder(), torch.tensor([[0.0, 0.0, 10.0, 20.0]])
    >>> coder.decode(anchor, coder.encode(anchor, anchor + 5)).tolist()
    [[5.0, 5.0, 15.0, 25.0]]
    """

    def __init__(self, stds: Sequence[float] = (1.0, 1.0, 1.0, 1.0)) -> None:
        self.stds = tuple(stds)

    def encode(self, references: Tensor, boxes: Tensor) -> Tensor:
        """Offsets (N, 4) that lead from references (N, 4) to boxes (N, 4)."""
        centers, sides = _centers_and_sides(references)
        own_centers, own_sides = _centers_and_sides(boxes)
        offsets = torch.cat([(own_centers - centers) / sides, torch.log(own_sides / sides)], dim=-1)
        return offsets / offsets.new_tensor(self.stds)

    def decode(self, references: Tensor, offsets: Tensor, picture: tuple[int, int] | None = None) -> Tensor:
        """Boxes of offsets.

        Args:
            references: (N, 4).
            offsets: (N, 4), or (N, K, 4) with one box a class.
            picture: (height, width) to which boxes are cut.

        Returns:
            boxes of the shape of `offsets`.
        """
        if offsets.dim() == 3:
            references = references[:, None]
        centers, sides = _centers_and_sides(references)
        offsets = offsets * offsets.new_tensor(self.stds)
        centers = centers + offsets[..., :2] * sides
        half = sides * offsets[..., 2:].clamp(-MAX_LOG_SIDE, MAX_LOG_SIDE).exp() / 2
        boxes = torch.cat([centers - half, centers + half], dim=-1)
        return boxes if picture is None else clip_boxes(boxes, picture)


def clip_boxes(boxes: Tensor, picture: tuple[int, int]) -> Tensor:
    """Boxes (..., 4) cut to a picture of this (height, width)."""
    height, width = picture
    return torch.stack([boxes[..., 0].clamp(0, width), boxes[..., 1].clamp(0, height),
                        boxes[..., 2].clamp(0, width), boxes[..., 3].clamp(0, height)], dim=-1)


def _centers_and_sides(boxes: Tensor) -> tuple[Tensor, Tensor]:
    return (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
