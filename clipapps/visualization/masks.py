"""Class masks as colors: over a picture, alone, and with a legend."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from clipapps.visualization.fonts import font, text_width

IGNORED = 255
_EDGE = (160, 160, 160)
_BACKGROUND = (128, 128, 128)


def distinct_colors(count: int) -> list[tuple[int, int, int]]:
    """`count` RGB colors that differ well: hues in golden-ratio steps at three levels of lightness."""
    colors = []
    for index in range(count):
        red, green, blue = colorsys.hls_to_rgb(index * 0.618034 % 1.0, (0.5, 0.38, 0.65)[index % 3], 0.75)
        colors.append((round(255 * red), round(255 * green), round(255 * blue)))
    return colors


def class_colors(names: Sequence[str]) -> list[tuple[int, int, int]]:
    """A color for each class; "background" is gray and takes none of the others', so that detectors agree with it.

    >>> class_colors(["background", "tree"])[1] == class_colors(["tree"])[0]
    True
    """
    colors = iter(distinct_colors(len(names)))
    return [_BACKGROUND if name == "background" else next(colors) for name in names]


def colorize(mask: np.ndarray, palette: Sequence[Sequence[int]], *, ignore_index: int = IGNORED) -> np.ndarray:
    """(H, W) class ids -> (H, W, 3) uint8 RGB; ignored pixels, and ids without a color, are hatched gray."""
    table = np.asarray(palette, dtype=np.uint8).reshape(-1, 3)
    ids = np.asarray(mask).astype(np.int64)
    known = (ids >= 0) & (ids < len(table)) & (ids != ignore_index)
    colors = table[np.where(known, ids, 0)] if len(table) else np.zeros((*ids.shape, 3), np.uint8)
    return np.where(known[..., None], colors, _hatch(ids.shape))


def overlay(image: np.ndarray, mask: np.ndarray, palette: Sequence[Sequence[int]], alpha: float = 0.6, *,
            ignore_index: int = IGNORED) -> np.ndarray:
    """The picture with its mask's colors over it.

    Args:
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) class ids; a mask of another size is resized to the picture without mixing ids.
        palette: one RGB triple a class.
        alpha: 0 shows the picture alone, 1 the colors alone.
        ignore_index: the id drawn as gray hatching.
    """
    ids = resize_mask(mask, image.shape[:2])
    mixed = (1.0 - alpha) * image + alpha * colorize(ids, palette, ignore_index=ignore_index)
    return mixed.round().clip(0, 255).astype(np.uint8)


def resize_mask(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) ids at another (height, width), nearest neighbor."""
    if tuple(mask.shape) == tuple(shape):
        return mask
    resized = Image.fromarray(np.asarray(mask).astype(np.int32), mode="I").resize(
        (shape[1], shape[0]), Image.Resampling.NEAREST)
    return np.asarray(resized)


def legend(names: Sequence[str], colors: Sequence[Sequence[int]], width: int = 640, *, size: int = 14) -> np.ndarray:
    """Color chips with class names, broken into lines that fit.

    Args:
        names: class names.
        colors: one RGB triple a name.
        width: of the picture, in pixels.
        size: of the text, in pixels.

    Returns:
        (H, width, 3) uint8 RGB.
    """
    gap, places, left, top = size // 2, [], size // 2, size // 2
    for name in names:
        needed = size + gap + text_width(name, size) + 2 * gap
        if left + needed > width and left > gap:
            left, top = gap, top + size + gap
        places.append((left, top))
        left += needed
    canvas = Image.new("RGB", (width, top + size + gap), "white")
    draw = ImageDraw.Draw(canvas)
    for name, color, (x, y) in zip(names, colors, places, strict=True):
        draw.rectangle((x, y, x + size, y + size), fill=tuple(int(value) for value in color), outline=_EDGE)
        draw.text((x + size + gap, y - 1), name, font=font(size), fill=(30, 30, 30))
    return np.asarray(canvas)


def _hatch(shape: tuple[int, ...]) -> np.ndarray:
    """Diagonal gray stripes, six pixels wide."""
    rows, columns = np.indices(shape)
    stripes = ((rows + columns) // 6 % 2).astype(np.uint8)
    return np.repeat((120 + 60 * stripes).astype(np.uint8)[..., None], 3, axis=-1)
