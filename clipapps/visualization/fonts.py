"""The one font of all pictures: DejaVu Sans, which matplotlib ships and which knows most alphabets."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from PIL import ImageFont


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font at a size in pixels."""
    import matplotlib

    file = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(file), size) if file.is_file() else ImageFont.load_default(size)


def text_width(text: str, size: int) -> int:
    """Width in pixels of a line of text."""
    return int(font(size).getlength(text)) + 1
