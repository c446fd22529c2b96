"""Names with a bar each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from clipapps.visualization.fonts import font, text_width

INK, BAR, PAPER = (30, 30, 30), (70, 120, 200), "white"


def bars(names: Sequence[str], scores: Sequence[float], width: int = 640, size: int = 15) -> np.ndarray:
    """One line a class: name, bar, percent; (H, width, 3) uint8 RGB.

    Args:
        scores: probabilities, 0..1. size: of the letters, in pixels.

    >>> bars(["tree", "cup"], [0.9, 0.1], width=200).shape
    (60, 200, 3)
    """
    line = size + 10
    canvas = Image.new("RGB", (width, line * len(names) + 10), PAPER)
    draw = ImageDraw.Draw(canvas)
    left = min(max(text_width(name, size) for name in names) + 20, width // 2)
    room = width - left - text_width("100.0 %", size) - 20
    for index, (name, score) in enumerate(zip(names, scores, strict=True)):
        top = 5 + index * line
        draw.text((10, top + 2), name, font=font(size), fill=INK)
        draw.rectangle((left, top + 3, width, top + line - 3), fill=PAPER)
        draw.rectangle((left, top + 3, left + max(1, round(room * score)), top + line - 3), fill=BAR)
        draw.text((left + max(1, round(room * score)) + 6, top + 2), f"{100 * score:.1f} %", font=font(size), fill=INK)
    return np.asarray(canvas)
