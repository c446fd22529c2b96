"""From a scene to pixels: the picture, exact masks, instance ids and boxes at any size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from .backgrounds import paint_background
from .lighting import light_background, light_picture, object_gain
from .scene import Scene, SceneObject
from .shapes import shape, texture_polygons
from .vocabulary import COLOR_RGB, SECOND_RGB

_SHIFT = 4
_MARGIN = 1.35
_OUTLINE = 0.055
_DETAIL_RGB = {"light": (252, 240, 220), "wood": (126, 84, 56), "glass": (198, 230, 246), "ink": (44, 42, 56),
               "paper": (253, 252, 247)}
_HAZE = np.array([214, 226, 236], dtype=np.float32)
_VISIBLE = 128


@dataclass(frozen=True)
class Rendering:
    """One scene at one size.

    Args:
        image: (side, side, 3) uint8 RGB.
        semantic: (side, side) uint8, 0 = background, 1..10 = categories.
        instances: (side, side) int32, 0 = background, k = `scene.objects[k - 1]`; semantic is its look-up.
        boxes_px: (n, 4) float32 left, top, right, bottom of each object's visible pixels (right and bottom exclusive);
            zeros for an object of which nothing is visible.
    """

    image: np.ndarray
    semantic: np.ndarray
    instances: np.ndarray
    boxes_px: np.ndarray


def render(scene: Scene, size: int) -> Rendering:
    """Draws a scene as a square picture of `size` pixels, with its masks and boxes.

    >>> from clipapps.toyworld import sample_scene
    >>> render(sample_scene(0, 0), 64).image.shape
    (64, 64, 3)
    """
    canvas = paint_background(scene.background, size, scene.detail_seed).astype(np.float32)
    canvas = light_background(canvas, scene.lighting, scene.detail_seed)
    instances = np.zeros((size, size), dtype=np.int32)
    for k, item in enumerate(scene.objects, start=1):
        _paint_object(canvas, instances, item, k, object_gain(scene.lighting))
    image = light_picture(canvas, scene.lighting)
    labels = np.array([0, *(item.label for item in scene.objects)], dtype=np.uint8)
    return Rendering(np.clip(image + 0.5, 0, 255).astype(np.uint8), labels[instances], instances,
                     _boxes(instances, len(scene.objects)))


def _boxes(instances: np.ndarray, count: int) -> np.ndarray:
    boxes = np.zeros((count, 4), dtype=np.float32)
    for k in range(count):
        left, top, width, height = cv2.boundingRect((instances == k + 1).view(np.uint8))
        boxes[k] = (left, top, left + width, top + height)
    return boxes


def _paint_object(canvas: np.ndarray, instances: np.ndarray, item: SceneObject, number: int, gain: float) -> None:
    """Composites one object with its shadow onto the canvas, in place."""
    size = canvas.shape[0]
    half = math.ceil(item.radius * size * _MARGIN) + 2
    left, top = math.floor(item.x * size) - half, math.floor(item.y * size) - half
    side = 2 * half + 1
    sprite = _sprite(item, size, left, top, side)
    rows, columns = _visible_part(top, side, size), _visible_part(left, side, size)
    inner = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
    alpha = sprite[..., 3]
    soft = _blur(alpha, item.radius * size * 0.16)
    offset = max(1, round(item.radius * size * 0.11))
    shadow = np.zeros_like(soft)
    shadow[offset:, offset:] = soft[:-offset, :-offset]
    color = _shade(sprite[..., :3], soft, half, gain, item.distance)
    keep = (1 - alpha[inner] * (1 / 255)) * (1 - shadow[inner] * (0.34 / 255))
    view = canvas[rows, columns]
    view *= keep[..., None]
    view += color[inner]
    instances[rows, columns][alpha[inner] >= _VISIBLE] = number


def _visible_part(start: int, length: int, size: int) -> slice:
    """What of `length` pixels from `start` lies inside 0..size; empty beyond either end."""
    first = min(max(0, start), size)
    return slice(first, max(first, min(size, start + length)))


def _blur(alpha: np.ndarray, sigma: float) -> np.ndarray:
    width = 2 * max(1, round(sigma * 1.2)) + 1
    return cv2.blur(cv2.blur(alpha, (width, width), borderType=cv2.BORDER_CONSTANT), (width, width),
                    borderType=cv2.BORDER_CONSTANT).astype(np.float32)


def _shade(color: np.ndarray, soft: np.ndarray, half: int, gain: float, distance: str) -> np.ndarray:
    """Light from the upper left, rounded edges, and haze on far objects; premultiplied color in and out, float32."""
    ramp = np.linspace(0.11, -0.11, 2 * half + 1, dtype=np.float32)
    field = (0.72 + soft * (0.34 / 255) + ramp[:, None] + ramp[None, :]) * gain
    lit = np.minimum(color * field[..., None], 255)
    if distance == "far":
        lit = 0.8 * lit + 0.2 * gain * _HAZE * (color.max(axis=2, keepdims=True) > 0)
    return lit


def _supersampling(side: int) -> int:
    return 4 if side <= 32 else 3 if side <= 96 else 2


def _flood(side: int, color: tuple[float, ...]) -> np.ndarray:
    """(side, side, 4) uint8 of one opaque color; a packed fill is ten times faster than a broadcast one."""
    packed = np.frombuffer(bytes((int(color[0]), int(color[1]), int(color[2]), 255)), dtype=np.uint32)[0]
    return np.full((side, side), packed, dtype=np.uint32).view(np.uint8).reshape(side, side, 4)


@lru_cache(maxsize=64)
def _round_kernel(width: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))


def _transform(item: SceneObject, size: int, left: int, top: int, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """(2, 2) matrix and (2,) offset from the unit disc to fixed-point pixels of the enlarged sprite."""
    c, s = math.cos(math.radians(item.angle)), math.sin(math.radians(item.angle))
    wide, high = math.sqrt(item.stretch), 1 / math.sqrt(item.stretch)
    matrix = np.array([[c, -s], [s, c]]) @ np.diag([-wide if item.mirrored else wide, high])
    unit = item.radius * size * scale * (1 << _SHIFT)
    offset = (np.array([item.x * size - left, item.y * size - top]) * scale - 0.5) * (1 << _SHIFT)
    return matrix * unit, offset


def _place(points: np.ndarray, matrix: np.ndarray, offset: np.ndarray) -> np.ndarray:
    return np.rint(points @ matrix.T + offset).astype(np.int32)


def _sprite(item: SceneObject, size: int, left: int, top: int, side: int) -> np.ndarray:
    """The object alone, (side, side, 4) uint8, color premultiplied by coverage, before light."""
    scale = _supersampling(side)
    matrix, offset = _transform(item, size, left, top, scale)
    outline = shape(item.category)
    points = _place(outline.points, matrix, offset)
    pieces = [points[a:b] for a, b in zip((0, *outline.ends), outline.ends, strict=False)]
    first, second = COLOR_RGB[item.color], SECOND_RGB[item.color]
    big = side * scale
    silhouette = np.zeros((big, big), dtype=np.uint8)
    for piece in pieces:
        cv2.fillPoly(silhouette, [piece], 255, shift=_SHIFT)
    fabric = _flood(big, first)
    pattern = texture_polygons(item.texture)
    if len(pattern):
        cv2.fillPoly(fabric, list(_place(pattern, matrix, offset)), (*second, 255), shift=_SHIFT)
    for piece, tone in zip(pieces, outline.tones, strict=True):
        if tone != "body":
            rgb = tuple(0.68 * c for c in first) if tone == "shade" else _DETAIL_RGB[tone]
            cv2.fillPoly(fabric, [piece], (*rgb, 255), shift=_SHIFT)
    return cv2.resize(_with_outline(fabric, silhouette, item, size * scale), (side, side), interpolation=cv2.INTER_AREA)


def _with_outline(fabric: np.ndarray, silhouette: np.ndarray, item: SceneObject, size: int) -> np.ndarray:
    """The fabric inside the silhouette, and a dark rim of the object's own hue around it."""
    width = 2 * max(1, round(_OUTLINE * item.radius * size)) + 1
    rim = cv2.dilate(silhouette, _round_kernel(width))
    layer = _flood(fabric.shape[0], tuple(0.3 * c + 10 for c in COLOR_RGB[item.color]))
    cv2.copyTo(fabric, silhouette, layer)
    return cv2.copyTo(layer, rim)
