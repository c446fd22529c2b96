"""The training augmentation of CLIP-LIT: flips, a transpose, zoom and rotation; no colors change."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

#: probabilities of either flip and of the transpose, and of the two warps
FLIP, WARP = 0.5, 0.3
MAX_ANGLE = 90.0


@dataclass(frozen=True)
class Draw:
    """One draw of the augmentation.

    Args:
        hflip, vflip: mirror left-right, top-bottom.
        transpose: swap the two axes (the published code calls it a rotation).
        zoom: factors (x, y) about the middle, above 1 enlarges; None: no zoom.
        angle: degrees, counter-clockwise, about the middle; None: no rotation.
    """

    hflip: bool = False
    vflip: bool = False
    transpose: bool = False
    zoom: tuple[float, float] | None = None
    angle: float | None = None


def sample_draw(zoom_range: tuple[float, float]) -> Draw:
    """A random draw, from numpy's global generator (which the engine seeds for each sample)."""
    hflip, vflip, transpose = (bool(value < FLIP) for value in np.random.random(3))
    zoom = (float(np.random.uniform(*zoom_range)), float(np.random.uniform(*zoom_range)))
    angle = float(np.random.uniform(-MAX_ANGLE, MAX_ANGLE))
    has_zoom, has_angle = np.random.random(2) < WARP
    return Draw(hflip, vflip, transpose, zoom if has_zoom else None, angle if has_angle else None)


def augment(image: np.ndarray, draw: Draw) -> np.ndarray:
    """A square image (S, S, C) uint8 under a draw; warps are bilinear, the border is reflected with its edge pixel."""
    if draw.hflip:
        image = image[:, ::-1]
    if draw.vflip:
        image = image[::-1]
    if draw.transpose:
        image = image.transpose(1, 0, 2)
    image = np.ascontiguousarray(image)
    height, width = image.shape[:2]
    if draw.zoom is not None:
        (zoom_x, zoom_y), x, y = draw.zoom, width / 2 + 0.5, height / 2 + 0.5
        image = _warp(image, np.array([[zoom_x, 0, x * (1 - zoom_x)], [0, zoom_y, y * (1 - zoom_y)]]))
    if draw.angle is not None:
        image = _warp(image, cv2.getRotationMatrix2D((width // 2, height // 2), draw.angle, 1.0))
    return image


def _warp(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    size = (image.shape[1], image.shape[0])
    return cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
