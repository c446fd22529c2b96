"""Pictures and films that are in memory already: Pillow images, arrays and tensors as (H, W, 3) uint8 RGB."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from clipapps.data.images import rgb_of
from clipapps.errors import UserError

_WANTED = ("a Pillow image, an array (H, W, 3) uint8 in RGB order, or a tensor (3, H, W), uint8 or floating-point in "
           "0..1; or several of one size with an axis in front")


def as_images(value: Any) -> list[np.ndarray]:
    """The pictures that a value holds, each (H, W, 3) uint8 RGB.

    Args:
        value: a Pillow image; an array (H, W, 3) or (N, H, W, 3) uint8; a tensor (3, H, W) or (N, 3, H, W), uint8, or
            floating-point in 0..1.

    Raises:
        UserError: another shape, type, or range.

    >>> [image.shape for image in as_images(torch.rand(2, 3, 4, 6))]
    [(4, 6, 3), (4, 6, 3)]
    """
    if isinstance(value, Image.Image):
        return [rgb_of(value)]
    array = _from_tensor(value) if isinstance(value, Tensor) else np.asarray(value)
    if array.ndim not in (3, 4) or array.shape[-1] != 3 or array.dtype != np.uint8 or not array.size:
        raise UserError(f"A picture has shape {tuple(getattr(value, 'shape', ()))} and type "
                        f"{getattr(value, 'dtype', type(value).__name__)}; expected {_WANTED}.")
    return list(array) if array.ndim == 4 else [array]


def _from_tensor(value: Tensor) -> np.ndarray:
    """(..., 3, H, W) -> (..., H, W, 3); of a wrong shape as it is, for the complaint."""
    value = value.detach().cpu()
    if value.is_floating_point():
        low, high = (float(bound) for bound in value.aminmax()) if value.numel() else (0.0, 0.0)
        if not (low >= -1e-3 and high <= 1 + 1e-3):  # false for NaN as well
            raise UserError(f"A floating-point picture holds values from {low:.3g} to {high:.3g}; expected 0 to 1. "
                            "Undo its normalization, or divide 0..255 by 255.")
        value = (value.float() * 255 + 0.5).floor().clamp(0, 255).to(torch.uint8)
    return value.movedim(-3, -1).numpy() if value.ndim >= 3 else value.numpy()
