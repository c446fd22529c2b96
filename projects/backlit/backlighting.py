"""Well-lit photos turned into backlit ones: a part falls into shade, in linear light, as a sensor sees it.

For training with pairs, which neither paper does, and for tests with a known answer. All pictures here are (H, W, 3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from skimage.segmentation import felzenszwalb

MASKS = ("segments", "shadows", "field")
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_FLOOR = 0.02  # keeps the ratio of two nearly black pixels from being taken seriously


@dataclass(frozen=True)
class BacklightingRanges:
    """From where `backlight` draws; pairs are (low, high) of uniform draws.

    Args:
        shade_stops: how much darker the shade is, in stops (2: a quarter of the light).
        common_stops: darkening of the whole picture.
        recovery: share of the darkening that the target gets back. Below 1, since a subject against the light is
            expected to be somewhat darker than its surroundings.
        untouched: share of the pictures that stay as they are, so that well-lit photos do.
        mask_shares: probabilities of the three kinds of `shade_mask`.
        noise: base-10 logarithms of the shot noise's variance at white.
        jpeg: share of the pictures that go through JPEG at a quality of 60 to 95.
    """

    shade_stops: tuple[float, float] = (0.5, 3.8)
    common_stops: tuple[float, float] = (0.0, 0.4)
    recovery: float = 0.75
    untouched: float = 0.15
    mask_shares: tuple[float, float, float] = (0.5, 0.35, 0.15)
    noise: tuple[float, float] = (-5.0, -3.3)
    jpeg: float = 0.4


@dataclass(frozen=True)
class Pair:
    """A synthetic pair.

    Args:
        backlit, target: uint8.
        light_map: (H, W) float32, what the backlit photo, without its noise, must be divided by.
    """

    backlit: np.ndarray
    target: np.ndarray
    light_map: np.ndarray


def backlight(photo: np.ndarray, rng: np.random.Generator, ranges: BacklightingRanges | None = None) -> Pair:
    """Put part of a well-lit photo into shade.

    Args:
        photo: (H, W, 3) uint8 RGB, sRGB-encoded.
        rng: of every draw. ranges: from where; None: the defaults.

    >>> photo = np.full((48, 64, 3), 180, dtype=np.uint8)
    >>> pair = backlight(photo, np.random.default_rng(0), BacklightingRanges(untouched=0.0))
    >>> bool(pair.backlit.mean() < photo.mean()), pair.light_map.shape
    (True, (48, 64))
    """
    ranges = ranges or BacklightingRanges()
    if rng.random() < ranges.untouched:
        return Pair(photo, photo, np.ones(photo.shape[:2], dtype=np.float32))
    mask = shade_mask(photo, rng, rng.choice(MASKS, p=ranges.mask_shares))
    stops = rng.uniform(*ranges.common_stops) + rng.uniform(*ranges.shade_stops) * mask
    original = to_linear(photo.astype(np.float32) / 255)
    light = original * np.exp2(-stops)[..., None].astype(np.float32)
    target = to_srgb(original * np.exp2((ranges.recovery - 1) * stops)[..., None].astype(np.float32))
    before, after = (image @ _LUMA for image in (target, to_srgb(light)))
    light_map = ((after + _FLOOR) / (before + _FLOOR)).astype(np.float32)
    shot = 10 ** rng.uniform(*ranges.noise)
    noise = rng.standard_normal(light.shape, dtype=np.float32) * np.sqrt(shot * light + shot**2)
    backlit = _to_bytes(to_srgb(np.clip(light + noise, 0, 1)))
    if rng.random() < ranges.jpeg:
        backlit = _through_jpeg(backlit, int(rng.integers(60, 96)))
    return Pair(backlit, _to_bytes(target), light_map)


def shade_mask(photo: np.ndarray, rng: np.random.Generator, kind: str) -> np.ndarray:
    """Where the shade is: (H, W) float32 in 0..1.

    Args:
        photo: (H, W, 3) uint8 RGB.
        rng: of the draws.
        kind: "segments": regions of similar color, rather low, central and dark ones, as subjects are. "shadows": what
            is darker than some level. "field": a soft random field.
    """
    height, width = photo.shape[:2]
    side = math.hypot(height, width)
    if kind == "segments":
        mask = _segments(photo, rng)
        blur = side * 10 ** rng.uniform(-2.7, -1.7)
    elif kind == "shadows":
        luma: np.ndarray = photo.astype(np.float32) @ _LUMA / 255
        for _ in range(2):  # without texture, with edges: light does not follow a pattern on a wall
            luma = np.asarray(cv2.bilateralFilter(luma, 0, rng.uniform(0.1, 0.3), side * rng.uniform(0.01, 0.04)))
        level, softness = np.quantile(luma, rng.uniform(0.3, 0.8)), rng.uniform(0.05, 0.3)
        mask = _smoothstep((level - luma) / softness)
        blur = 0.0
    else:
        field = cv2.GaussianBlur(rng.standard_normal((height, width), dtype=np.float32), (0, 0),
                                 side * rng.uniform(0.06, 0.2))
        field = (field - np.quantile(field, rng.uniform(0.3, 0.7))) / field.std()
        mask = _smoothstep(field / rng.uniform(0.2, 1.5))
        blur = 0.0
    return cv2.GaussianBlur(mask, (0, 0), blur) if blur > 0.3 else mask


def _segments(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    labels = felzenszwalb(photo, scale=float(rng.uniform(80, 500)), sigma=0.8,
                          min_size=max(8, photo.shape[0] * photo.shape[1] // 150))
    rows, columns = np.indices(labels.shape)
    sizes = np.bincount(labels.ravel())
    at = [np.bincount(labels.ravel(), values.ravel()) / sizes for values in
          (rows / labels.shape[0], columns / labels.shape[1], photo.astype(np.float32) @ _LUMA / 255)]
    middle_row, middle_column = rng.uniform(0.4, 1.0), rng.uniform(0.1, 0.9)
    score = (-np.hypot(at[0] - middle_row, at[1] - middle_column) - rng.uniform(0, 1.5) * at[2]
             + 0.2 * rng.standard_normal(len(sizes)))
    order = np.argsort(-score)
    wanted = rng.uniform(0.2, 0.7) * labels.size
    is_shaded = np.zeros(len(sizes), dtype=np.float32)
    is_shaded[order[: 1 + int(np.searchsorted(np.cumsum(sizes[order]), wanted))]] = 1
    return is_shaded[labels]


def _smoothstep(values: np.ndarray) -> np.ndarray:
    """Minus one half or less: 0; one half or more: 1; smooth between."""
    values = np.clip(values + 0.5, 0, 1)
    smooth: np.ndarray = (values * values * (3 - 2 * values)).astype(np.float32)
    return smooth


def to_linear(values: np.ndarray) -> np.ndarray:
    """sRGB-encoded values in 0..1 -> linear light in 0..1."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def to_srgb(light: np.ndarray) -> np.ndarray:
    """Linear light in 0..1 -> sRGB-encoded values in 0..1."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055)


def _to_bytes(values: np.ndarray) -> np.ndarray:
    return np.floor(values * 255 + 0.5).astype(np.uint8)


def _through_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    _, content = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR))
    return np.ascontiguousarray(decoded[..., ::-1])
