"""What was recognized, as pictures: frames with their interactive points, bars, and a timeline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from clipapps.visualization.bars import BAR, INK, PAPER, bars
from clipapps.visualization.fonts import font, text_width
from clipapps.visualization.panels import side_by_side, stacked

__all__ = ["bars", "strip", "timeline"]

FORWARD, BACKWARD = (255, 140, 0), (0, 150, 255)  # points towards the next frame, and from the one before
FRAMES_A_ROW = 8


def strip(frames: np.ndarray, times: Sequence[float], points: np.ndarray | None = None,
          height: int = 144) -> np.ndarray:
    """Frames in rows of eight, each under its second, with rings around its interactive points.

    Args:
        frames: (T, S, S, 3) uint8 RGB.
        points: (T - 1, 4), as `alignment.Aligned.points` of one clip; None: no rings. Orange rings show what a frame
            has in common with the next one, blue ones with the one before.
    """
    drawn = list(frames) if points is None else [_with_points(frame, index, points)
                                                 for index, frame in enumerate(frames)]
    panels = [(f"{time:.1f} s", frame) for time, frame in zip(times, drawn, strict=True)]
    return stacked([side_by_side(panels[first:first + FRAMES_A_ROW], height=height)
                    for first in range(0, len(panels), FRAMES_A_ROW)])


def _with_points(frame: np.ndarray, index: int, points: np.ndarray) -> np.ndarray:
    side, scale = frame.shape[0], 4  # drawn larger, so that rings are smooth on small frames
    image = Image.fromarray(frame).resize((side * scale, side * scale), Image.Resampling.BICUBIC)
    draw, radius = ImageDraw.Draw(image), side * scale / 14
    rings = []
    if index < len(points):
        rings.append((points[index, :2], FORWARD, radius))
    if index > 0:
        rings.append((points[index - 1, 2:], BACKWARD, 0.6 * radius))  # smaller: both may lie at one place
    for point, color, size in rings:
        center = (point + 1) / 2 * (side * scale - 1)
        box = [*(center - size), *(center + size)]
        draw.ellipse(box, outline=color, width=max(2, side * scale // 64))
    return np.asarray(image)


def timeline(names: Sequence[str], scores: np.ndarray, spans: Sequence[tuple[float, float]], width: int = 960,
             size: int = 14) -> np.ndarray:
    """One line a class over time, the darker the more probable.

    Args:
        names: K of the classes. scores: (windows, K) probabilities.
        spans: start and end of each window in seconds.
    """
    line, left = size + 12, min(max(text_width(name, size) for name in names) + 20, width // 3)
    canvas = Image.new("RGB", (width, line * (len(names) + 1) + 10), PAPER)
    draw, first, last = ImageDraw.Draw(canvas), spans[0][0], spans[-1][1]
    scale = (width - left - 10) / max(last - first, 1e-9)
    for row, name in enumerate(names):
        top = 5 + row * line
        draw.text((10, top + 4), name, font=font(size), fill=INK)
        draw.rectangle((left, top, width, top + line), fill=PAPER)
        for (start, end), score in zip(spans, scores[:, row], strict=True):
            box = (left + (start - first) * scale, top + 2, left + (end - first) * scale - 1, top + line - 2)
            draw.rectangle(box, fill=tuple(round(255 - (255 - part) * float(score)) for part in BAR))
    for second in np.linspace(first, last, 5):
        place = left + (second - first) * scale
        text = f"{int(second) // 60}:{int(second) % 60:02}"
        draw.text((min(place, width - text_width(text, size) - 4), 5 + line * len(names) + 4), text, font=font(size),
                  fill=INK)
    return np.asarray(canvas)
