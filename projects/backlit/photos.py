"""Photo files with all that belongs to them: what is read beside the colors is written again."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from clipapps.data.images import read_image

#: formats that are written as they came; every other becomes PNG
_KEPT = {".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF"}
_ORIENTATION = 0x0112
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class Photo:
    """A photo, upright.

    Args:
        colors: (H, W, 3) uint8 RGB, in the file's own color space; transparent pixels keep their colors.
        alpha: (H, W) uint8, or None.
        is_gray: the file has no colors.
        icc_profile: the file's color profile, or None.
        exif: its other metadata, the orientation taken out, or None.
        suffix: of the file that a result is written to.
    """

    colors: np.ndarray
    alpha: np.ndarray | None = None
    is_gray: bool = False
    icc_profile: bytes | None = None
    exif: bytes | None = None
    suffix: str = ".png"

    def encoded(self, colors: np.ndarray) -> bytes:
        """The bytes of a file like this one with other colors (H, W, 3) uint8."""
        image = Image.fromarray(colors)
        if self.is_gray:
            image = image.convert("L")
        if self.alpha is not None:
            image.putalpha(Image.fromarray(self.alpha))
        facts = {name: value for name, value in (("icc_profile", self.icc_profile), ("exif", self.exif))
                 if value is not None}
        kind, buffer = _KEPT[self.suffix], io.BytesIO()
        options = dict(quality=_JPEG_QUALITY, subsampling=0) if kind == "JPEG" else \
            dict(lossless=True) if kind == "WEBP" else {}
        image.save(buffer, format=kind, **options, **facts)
        return buffer.getvalue()


def read_photo(path: str | Path) -> Photo:
    """Read a photo file.

    Palettes become colors. CMYK goes to sRGB through its profile, and 16-bit files are read as 8 bits; both are then
    written so.

    Raises:
        BadSampleError: the file cannot be used; the message names it and the reason.
    """
    composed = read_image(path)  # checks the file, and knows every format
    with Image.open(path) as file:
        image = ImageOps.exif_transpose(file)
        exif, suffix = image.getexif(), Path(path).suffix.lower()
        has_alpha = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
        is_foreign = image.mode == "CMYK"
        profile = None if is_foreign else image.info.get("icc_profile")
        colors, alpha = composed, None
        if has_alpha:
            pixels = np.asarray(image.convert("RGBA"))
            colors, alpha = np.ascontiguousarray(pixels[..., :3]), np.ascontiguousarray(pixels[..., 3])
        exif.pop(_ORIENTATION, None)
        return Photo(colors, alpha, image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I"), profile,
                     exif.tobytes() if len(exif) else None, suffix if suffix in _KEPT else ".png")
