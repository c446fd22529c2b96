"""Several pictures in a row, each under its title."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from clipapps.visualization.fonts import font, text_width

BACKGROUND = (255, 255, 255)
_TEXT = (30, 30, 30)
_GAP = 8


def side_by_side(panels: Sequence[tuple[str, np.ndarray]], *, height: int | None = None) -> np.ndarray:
    """A row of pictures of one height, each under its title.

    Args:
        panels: (title, picture) pairs; a picture is (H, W, 3) uint8 RGB, a title may be empty.
        height: common height in pixels; None takes the tallest picture's.

    Returns:
        (H, W, 3) uint8 RGB.

    >>> import numpy as np
    >>> side_by_side([("a", np.zeros((64, 96, 3), np.uint8)), ("b", np.zeros((64, 64, 3), np.uint8))]).shape[2]
    3
    """
    tall = height or max(picture.shape[0] for _, picture in panels)
    scaled = [_to_height(picture, tall) for _, picture in panels]
    size = max(11, min(22, tall // 16))
    top = size + 2 * _GAP if any(title for title, _ in panels) else _GAP
    width = sum(picture.width for picture in scaled) + _GAP * (len(scaled) + 1)
    canvas = Image.new("RGB", (width, top + tall + _GAP), BACKGROUND)
    draw, left = ImageDraw.Draw(canvas), _GAP
    for (title, _), picture in zip(panels, scaled, strict=True):
        canvas.paste(picture, (left, top))
        draw.text((left, _GAP), _fitted(title, picture.width, size), font=font(size), fill=_TEXT)
        left += picture.width + _GAP
    return np.asarray(canvas)


def stacked(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures below each other, left-aligned on white."""
    width = max(picture.shape[1] for picture in pictures)
    padded = [np.pad(picture, ((0, 0), (0, width - picture.shape[1]), (0, 0)), constant_values=255)
              for picture in pictures]
    return np.concatenate(padded)


def _to_height(picture: np.ndarray, height: int) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(picture))
    if image.height == height:
        return image
    return image.resize((max(1, round(image.width * height / image.height)), height), Image.Resampling.BICUBIC)


def _fitted(title: str, width: int, size: int) -> str:
    while title and text_width(title, size) > width:
        title = title[:-2].rstrip() + "…" if len(title) > 2 else ""
    return title
