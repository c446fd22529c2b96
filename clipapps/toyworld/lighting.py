"""Lighting of the toy world: how a lighting name changes the background, the objects, and the finished picture.

All images here are float32 RGB on the 0..255 scale.
"""

from __future__ import annotations

import random
from functools import lru_cache

import numpy as np

BACKLIT_OBJECT = 0.36
"""Brightness of objects seen against the light."""
DARK_GAIN = np.array([0.36, 0.38, 0.47], dtype=np.float32)
"""Red, green and blue gain of a picture taken in the dark."""


@lru_cache(maxsize=8)
def _coordinates(side: int) -> np.ndarray:
    return ((np.arange(side, dtype=np.float32) + 0.5) / side).astype(np.float32)


def light_background(image: np.ndarray, lighting: str, detail_seed: int) -> np.ndarray:
    """The background under that lighting: against the light it glows around a low sun; (side, side, 3)."""
    if lighting != "backlit":
        return image
    rng = random.Random(detail_seed ^ 0x5EED)
    cx, cy = rng.uniform(0.2, 0.8), rng.uniform(0.15, 0.4)
    at = _coordinates(image.shape[0])
    falloff = np.exp(-((at - cx) ** 2) / 0.16)[None, :] * np.exp(-((at - cy) ** 2) / 0.16)[:, None]
    glow = falloff[..., None] * np.array([255, 244, 214], dtype=np.float32)
    return np.minimum(image * (1 - 0.75 * falloff[..., None]) + glow * 0.8 + 6, 255)


def object_gain(lighting: str) -> float:
    """Factor on the brightness of the objects."""
    return BACKLIT_OBJECT if lighting == "backlit" else 1.0


def light_picture(image: np.ndarray, lighting: str) -> np.ndarray:
    """The finished picture under that lighting: the dark is dim and bluish; (side, side, 3)."""
    return image * DARK_GAIN if lighting == "dark" else image
