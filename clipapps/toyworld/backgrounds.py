"""Backgrounds of the toy world: drawn from a seed, the same at every size.

Each painter takes the side in pixels and a seeded generator, draws the same numbers whatever the side, and returns an
image (side, side, 3), uint8 RGB.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import cv2
import numpy as np

Color = tuple[float, ...]
"""Red, green, blue on the 0..255 scale."""
_SHIFT = 4
_STEPS = np.linspace(-0.02, 1.02, 33)


def paint_background(name: str, side: int, detail_seed: int) -> np.ndarray:
    """The background of that name as (side, side, 3) uint8 RGB."""
    return PAINTERS[name](side, random.Random(detail_seed))


def _jitter(rng: random.Random, color: Color, amount: float = 10.0) -> Color:
    shift = rng.uniform(-amount, amount)
    return tuple(min(255.0, max(0.0, c + shift + rng.uniform(-amount / 2, amount / 2))) for c in color)


def _gradient(side: int, stops: Sequence[tuple[float, Color]]) -> np.ndarray:
    """Vertical gradient through (height, color) stops."""
    heights = (np.arange(side) + 0.5) / side
    at = [stop[0] for stop in stops]
    column = np.stack([np.interp(heights, at, [stop[1][k] for stop in stops]) for k in range(3)], axis=1)
    return cv2.resize((column + 0.5).astype(np.uint8)[:, None], (side, side), interpolation=cv2.INTER_NEAREST)


def _noise(side: int, rng: random.Random, cells: int, cells_x: int | None = None) -> np.ndarray:
    """Smooth noise in -1..1 of a given number of cells, (side, side) float32."""
    wide = cells_x or cells
    raw = np.frombuffer(rng.randbytes(cells * wide), dtype=np.uint8).reshape(cells, wide)
    return cv2.resize(raw.astype(np.float32) / 127.5 - 1, (side, side), interpolation=cv2.INTER_CUBIC)


def _roughen(image: np.ndarray, noise: np.ndarray, strength: float) -> np.ndarray:
    """Adds gray noise of the given strength (0..255 scale)."""
    return cv2.add(image, cv2.merge([noise * strength] * 3), dtype=cv2.CV_8U)


def _fixed(points: np.ndarray, side: int) -> np.ndarray:
    """Unit-square points as OpenCV fixed-point pixel coordinates."""
    return np.rint(points * (side << _SHIFT) - (1 << _SHIFT) / 2).astype(np.int32)


def _fill(image: np.ndarray, points: np.ndarray, color: Color) -> None:
    cv2.fillPoly(image, [_fixed(points, image.shape[0])], color, lineType=cv2.LINE_AA, shift=_SHIFT)


def _disc(image: np.ndarray, x: float, y: float, radius: float, color: Color) -> None:
    side = image.shape[0]
    unit = 1 << _SHIFT
    center = (round((x * side - 0.5) * unit), round((y * side - 0.5) * unit))
    cv2.circle(image, center, max(1, int(radius * side * unit)), color, -1, lineType=cv2.LINE_AA, shift=_SHIFT)


def _ridge(rng: random.Random, base: float, height: float, waves: float) -> np.ndarray:
    """A rolling skyline that closes along the bottom edge."""
    count = len(_STEPS)
    points = np.full((count + 2, 2), 1.02)
    points[:count, 0] = _STEPS
    points[-1, 0] = -0.02
    phase = 2 * math.pi * waves * points[:count, 0]
    points[:count, 1] = base - height * (0.6 * np.sin(phase + 6.2832 * rng.random())
                                         + 0.4 * np.sin(2.3 * phase + 6.2832 * rng.random()))
    return points


def _clouds(image: np.ndarray, rng: random.Random, count: int, top: float, bottom: float, color: Color) -> None:
    for _ in range(count):
        x, y, s = rng.uniform(0, 1), rng.uniform(top, bottom), rng.uniform(0.05, 0.085)
        for dx, dy, r in ((-1.2, 0.15, 0.6), (-0.45, -0.2, 0.85), (0.45, -0.05, 0.75), (1.2, 0.2, 0.5)):
            _disc(image, x + dx * s, y + dy * s, r * s, color)


def _sun(image: np.ndarray, rng: random.Random, color: Color = (255, 244, 190)) -> None:
    _disc(image, rng.uniform(0.1, 0.9), rng.uniform(0.08, 0.18), rng.uniform(0.045, 0.065), color)


def _meadow(side: int, rng: random.Random) -> np.ndarray:
    image = _gradient(side, [(0.0, _jitter(rng, (140, 202, 240))), (0.55, (222, 242, 246))])
    _sun(image, rng)
    _clouds(image, rng, 2, 0.1, 0.28, (252, 253, 255))
    horizon = rng.uniform(0.42, 0.52)
    for k, color in enumerate(((150, 200, 128), (128, 186, 104), (108, 170, 84))):
        _fill(image, _ridge(rng, horizon + 0.13 * k, 0.035, rng.uniform(0.7, 1.3)), _jitter(rng, color, 6))
    image = _roughen(image, _noise(side, rng, 30, 44), 5)
    for _ in range(16):
        x, y = rng.random(), rng.uniform(0.62, 0.98)
        _disc(image, x, y, 0.006 + 0.006 * y, rng.choice(((252, 246, 214), (250, 226, 120), (244, 206, 226))))
    return image


def _beach(side: int, rng: random.Random) -> np.ndarray:
    horizon, shore = rng.uniform(0.28, 0.34), rng.uniform(0.5, 0.58)
    image = _gradient(side, [(0.0, _jitter(rng, (146, 208, 238))), (horizon, (232, 246, 248)),
                             (horizon + 0.004, (46, 150, 186)), (shore, (112, 208, 206))])
    _sun(image, rng)
    _clouds(image, rng, 1, 0.08, 0.2, (255, 255, 255))
    waves = rng.uniform(0.8, 1.3)
    coast = _ridge(rng, shore, 0.022, waves)
    _fill(image, coast, (244, 250, 246))
    coast[:-2, 1] += 0.022
    _fill(image, coast, _jitter(rng, (240, 218, 168), 7))
    return _roughen(image, _noise(side, rng, 48), 7)


def _sea(side: int, rng: random.Random) -> np.ndarray:
    horizon = rng.uniform(0.2, 0.28)
    image = _gradient(side, [(0.0, _jitter(rng, (168, 214, 238))), (horizon, (236, 246, 246)),
                             (horizon + 0.004, (72, 154, 190)), (1.0, _jitter(rng, (18, 82, 138)))])
    _clouds(image, rng, 2, 0.06, 0.16, (255, 255, 255))
    for k in range(9):
        y = horizon + 0.05 + (0.97 - horizon) * (k / 9) ** 1.3
        crest = y + (0.006 + 0.007 * k / 9) * np.sin(2 * math.pi * ((9 - 0.6 * k) * _STEPS + rng.random()))
        line = _fixed(np.stack([_STEPS, crest], axis=1), side)
        tone = 196 - 12 * k
        width = max(1, round(0.008 * side))
        cv2.polylines(image, [line], False, (tone - 76, tone, tone + 22), width, cv2.LINE_AA, _SHIFT)
    return _roughen(image, _noise(side, rng, 40, 10), 5)


def _desert(side: int, rng: random.Random) -> np.ndarray:
    image = _gradient(side, [(0.0, _jitter(rng, (250, 206, 148))), (0.5, (255, 238, 206))])
    _sun(image, rng, (255, 250, 226))
    horizon = rng.uniform(0.42, 0.5)
    for k, color in enumerate(((230, 176, 112), (222, 158, 92), (208, 140, 78), (194, 124, 68))):
        _fill(image, _ridge(rng, horizon + 0.13 * k, 0.045, rng.uniform(0.5, 0.9)), _jitter(rng, color, 6))
    return _roughen(image, _noise(side, rng, 60, 24), 6)


def _fir(image: np.ndarray, x: float, y: float, height: float, color: Color) -> None:
    for k in range(2):
        top, low, half = y - height + 0.35 * k * height, y - 0.3 * height * (1 - k), 0.2 * height * (0.8 + 0.4 * k)
        _fill(image, np.array([(x, top), (x + half, low), (x - half, low)]), color)


def _snow(side: int, rng: random.Random) -> np.ndarray:
    image = _gradient(side, [(0.0, _jitter(rng, (176, 200, 226))), (0.5, (226, 236, 246))])
    horizon = rng.uniform(0.4, 0.48)
    _fill(image, _ridge(rng, horizon - 0.05, 0.03, rng.uniform(0.8, 1.4)), _jitter(rng, (190, 208, 228), 5))
    for k, color in enumerate(((216, 228, 242), (230, 238, 248), (242, 247, 252))):
        _fill(image, _ridge(rng, horizon + 0.15 * k, 0.03, rng.uniform(0.6, 1.1)), color)
    image = _roughen(image, _noise(side, rng, 16), 4)
    for _ in range(34):
        _disc(image, rng.random(), rng.random(), rng.uniform(0.004, 0.01), (255, 255, 255))
    return image


def _mountains(side: int, rng: random.Random) -> np.ndarray:
    image = _gradient(side, [(0.0, _jitter(rng, (122, 172, 218))), (0.6, (232, 232, 230))])
    _clouds(image, rng, 1, 0.08, 0.2, (250, 252, 254))
    for peak in range(4):
        x, top, half = (peak + rng.uniform(0.1, 0.9)) / 4, rng.uniform(0.2, 0.36), rng.uniform(0.3, 0.4)
        low = 0.72
        color = _jitter(rng, (122, 134, 158) if peak % 2 else (104, 116, 144), 7)
        _fill(image, np.array([(x, top), (x + half, low), (x - half, low)]), color)
        _fill(image, np.array([(x, top), (x - half, low), (x - 0.25 * half, low)]), tuple(0.86 * c for c in color))
        s = 0.24
        cap = [(x, top), (x + s * half, top + s * (low - top)), (x + 0.08 * half, top + 0.7 * s * (low - top)),
               (x - 0.07 * half, top + 1.1 * s * (low - top)), (x - s * half, top + s * (low - top))]
        _fill(image, np.array(cap), (246, 249, 252))
    for k, color in enumerate(((108, 138, 122), (88, 122, 98))):
        _fill(image, _ridge(rng, 0.64 + 0.15 * k, 0.03, rng.uniform(0.8, 1.4)), _jitter(rng, color, 6))
    return _roughen(image, _noise(side, rng, 36), 5)


def _night_sky(side: int, rng: random.Random) -> np.ndarray:
    image = _gradient(side, [(0.0, _jitter(rng, (16, 20, 54), 6)), (0.65, (44, 48, 104)), (1.0, (88, 76, 136))])
    image = _roughen(image, _noise(side, rng, 6), 7)
    for _ in range(46):
        tone = rng.uniform(150, 250)
        x, y, r = rng.random(), rng.uniform(0, 0.84), rng.uniform(0.0025, 0.008)
        _disc(image, x, y, r, (tone, tone, min(255.0, tone + 14)))
    x, y, r = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.2), rng.uniform(0.05, 0.07)
    _disc(image, x, y, r, (250, 240, 206))
    _disc(image, x + 0.45 * r, y - 0.25 * r, 0.86 * r, (26, 30, 68))
    _fill(image, _ridge(rng, 0.9, 0.03, rng.uniform(0.8, 1.5)), (22, 26, 50))
    return image


def _brick_wall(side: int, rng: random.Random) -> np.ndarray:
    image = _gradient(side, [(0.0, (228, 216, 204)), (1.0, (206, 192, 182))])
    base = _jitter(rng, (186, 108, 88), 12)
    rows, columns, gap = rng.choice((7, 8, 9)), rng.choice((4, 5)), 0.009
    for row in range(rows):
        offset = (row % 2) * 0.5
        lefts = (np.arange(-1, columns + 1) + offset) / columns + gap
        rights, top, low = lefts + 1 / columns - 2 * gap, row / rows + gap, (row + 1) / rows - gap
        for left, right in zip(lefts, rights, strict=True):
            tone = rng.uniform(0.84, 1.12)
            corners = _fixed(np.array([(left, top), (right, top), (right, low), (left, low)]), side)
            cv2.fillConvexPoly(image, corners, tuple(min(255.0, tone * c) for c in base), cv2.LINE_AA, _SHIFT)
    return _roughen(image, _noise(side, rng, 56), 8)


def _plain(side: int, rng: random.Random) -> np.ndarray:
    tone = rng.uniform(28, 74)
    color = _jitter(rng, (tone, tone, tone + 8), 6)
    return _gradient(side, [(0.0, tuple(1.25 * c for c in color)), (1.0, color)])


PAINTERS: dict[str, Callable[[int, random.Random], np.ndarray]] = {
    "meadow": _meadow, "beach": _beach, "sea": _sea, "desert": _desert, "snow": _snow, "mountains": _mountains,
    "night sky": _night_sky, "brick wall": _brick_wall, "plain": _plain,
}
