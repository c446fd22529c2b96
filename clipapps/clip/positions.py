"""Resizing and cropping of learned positional grids."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from clipapps.errors import UserError

MODES = ("resize", "crop")
INTERPOLATIONS = ("bilinear", "bicubic")


def grid_side(num_positions: int, num_prefix: int) -> int:
    """Side of the square grid stored in a table of `num_positions` rows, `num_prefix` of them for prefix tokens."""
    side = math.isqrt(num_positions - num_prefix)
    if side * side != num_positions - num_prefix:
        raise UserError(f"{num_positions} positions with {num_prefix} prefix rows do not form a square grid; image "
                        "towers whose native size is not square are not supported.")
    return side


def resize_positions(
    table: Tensor,
    grid: tuple[int, int],
    *,
    num_prefix: int = 1,
    interpolation: str = "bilinear",
    mode: str = "resize",
) -> Tensor:
    """Fit a positional table to another grid; the identity (same storage) when it fits already.

    Args:
        table: (num_prefix + S*S, C), rows of the square grid in row-major order after the prefix rows.
        grid: wanted (h, w).
        num_prefix: rows that belong to no position (class token, mean token) and stay as they are.
        interpolation: "bilinear" or "bicubic", corners not aligned, no antialiasing.
        mode: "resize", or "crop": the top-left h x w corner; a grid too small to crop is resized.

    Returns:
        (num_prefix + h*w, C).
    """
    side = grid_side(table.shape[0], num_prefix)
    # A traced graph serves grids of any size, so there the resize stays in; for an equal grid it changes no bit.
    if not torch.compiler.is_compiling() and grid == (side, side):
        return table
    prefix, cells = table[:num_prefix], table[num_prefix:]
    cells = cells.unflatten(0, (side, side))  # (S, S, C)
    if mode == "crop" and grid[0] <= side and grid[1] <= side:
        cells = cells[: grid[0], : grid[1]]
    else:
        # Interpolated in float32: bfloat16 has no bicubic kernel and would lose the fine offsets.
        planes = cells.permute(2, 0, 1).unsqueeze(0).float()  # (1, C, S, S)
        planes = F.interpolate(planes, size=grid, mode=interpolation, align_corners=False)
        cells = planes[0].permute(1, 2, 0).to(table.dtype)  # (h, w, C)
    return torch.cat([prefix, cells.flatten(0, 1)])
