"""Which input sizes an image tower accepts."""

from __future__ import annotations

from torch import Tensor

from clipapps.errors import UserError


def check_size(images: Tensor, stride: int, *, strict: bool) -> None:
    """Refuse a batch that is not (B, 3, H, W), smaller than one cell, or (strict) no multiple of the stride.

    Raises:
        UserError: with the size, the multiple, and the nearest legal size.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise UserError(f"Images have shape {tuple(images.shape)}; expected (B, 3, H, W).")
    height, width = images.shape[-2:]
    too_small = min(height, width) < stride
    if too_small or (strict and (height % stride or width % stride)):
        nearest = [max(stride, round(side / stride) * stride) for side in (height, width)]
        raise UserError(f"The input is {height} x {width} pixels; both sides must be multiples of {stride}"
                        f"{'' if strict else ' or at least that large'}. Nearest legal size: {nearest[0]} x "
                        f"{nearest[1]}.")
