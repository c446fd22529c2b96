"""Color profiles: the network expects sRGB, and photos keep the color space that they came in."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from PIL import Image, ImageCms

_ROWS = 512  # converted at a time, so that large photos need no second and third copy


@cache
def srgb_profile() -> bytes:
    """The profile that files converted to sRGB are tagged with."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def to_srgb(colors: np.ndarray, profile: bytes | None, *, is_gray: bool = False) -> np.ndarray:
    """(H, W, 3) uint8 or uint16 in the space of a profile -> the same in sRGB, uint8 where anything was converted.

    No profile, one that says sRGB, and one that cannot be read or belongs to other kinds of pictures change nothing.
    """
    mode = "L" if is_gray else "RGB"
    transform = _transform(profile, mode) if profile else None
    if transform is None:
        return colors
    converted = np.empty(colors.shape, np.uint8)
    for top in range(0, len(colors), _ROWS):
        rows = colors[top:top + _ROWS]
        rows = rows if rows.dtype == np.uint8 else ((rows.astype(np.uint32) + 128) // 257).astype(np.uint8)
        picture = Image.fromarray(np.ascontiguousarray(rows[..., 0] if is_gray else rows))
        converted[top:top + _ROWS] = np.asarray(ImageCms.applyTransform(picture, transform))
    return converted


def cmyk_to_srgb(image: Image.Image) -> Image.Image:
    """A CMYK picture in sRGB, through its own profile where it has one that can be used."""
    transform = _transform(image.info.get("icc_profile"), "CMYK")
    return image.convert("RGB") if transform is None else ImageCms.applyTransform(image, transform) or image


def _transform(profile: bytes | None, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From a profile to sRGB for pictures of a mode; None: nothing is to be converted."""
    if not profile:
        return None
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(own).lower():
            return None
        return ImageCms.buildTransform(own, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, TypeError):
        return None
