"""Silhouettes of the ten categories and patterns of the textures, as polygons in the unit disc (y points down)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np

Polygon = np.ndarray


@dataclass(frozen=True)
class Part:
    """One polygon of a silhouette and its tone.

    Args:
        points: (n, 2) corners in the unit disc.
        tone: "body" takes the object's color and texture, "shade" a darker plain tone of it; "light", "wood", "glass",
            "ink" and "paper" are fixed tones of details.
    """

    points: Polygon
    tone: str


@dataclass(frozen=True)
class Shape:
    """All polygons of one category in one array, so that a single product turns and places them.

    Args:
        points: (n, 2) corners of all parts, one after the other.
        ends: where each part ends in `points`.
        tones: tone of each part; the body parts come first, details are painted over them in order.
    """

    points: np.ndarray
    ends: tuple[int, ...]
    tones: tuple[str, ...]


def _polygon(*corners: tuple[float, float]) -> Polygon:
    return np.array(corners, dtype=np.float64)


def _box(left: float, top: float, right: float, bottom: float) -> Polygon:
    return _polygon((left, top), (right, top), (right, bottom), (left, bottom))


def _ellipse(x: float, y: float, rx: float, ry: float | None = None, turn: float = 0.0, count: int = 28) -> Polygon:
    t = np.linspace(0, 2 * math.pi, count, endpoint=False)
    px, py = rx * np.cos(t), (rx if ry is None else ry) * np.sin(t)
    c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    return np.stack([x + c * px - s * py, y + s * px + c * py], axis=1)


def _arc(x: float, y: float, rx: float, ry: float, start: float, stop: float, count: int = 20) -> Polygon:
    t = np.radians(np.linspace(start, stop, count))
    return np.stack([x + rx * np.cos(t), y + ry * np.sin(t)], axis=1)


def _ring(x: float, y: float, outer: float, inner: float, start: float, stop: float) -> Polygon:
    return np.concatenate([_arc(x, y, outer, outer, start, stop), _arc(x, y, inner, inner, stop, start)])


def _rounded(left: float, top: float, right: float, bottom: float, radius: float) -> Polygon:
    corners = [(right - radius, top + radius, -90), (right - radius, bottom - radius, 0),
               (left + radius, bottom - radius, 90), (left + radius, top + radius, 180)]
    return np.concatenate([_arc(x, y, radius, radius, a, a + 90, 6) for x, y, a in corners])


def _house() -> list[Part]:
    return [
        Part(_box(-0.64, -0.1, 0.64, 0.8), "body"),
        Part(_box(0.34, -0.8, 0.56, -0.2), "wood"),
        Part(_polygon((-0.9, -0.02), (0.0, -0.86), (0.9, -0.02)), "shade"),
        Part(_rounded(-0.17, 0.28, 0.17, 0.8, 0.06), "wood"),
        Part(_box(-0.5, 0.14, -0.26, 0.42), "glass"),
        Part(_box(0.26, 0.14, 0.5, 0.42), "glass"),
    ]


def _tree() -> list[Part]:
    crown = _polygon((0, -0.96), (0.36, -0.42), (0.2, -0.42), (0.55, 0.1), (0.34, 0.1), (0.74, 0.62),
                     (-0.74, 0.62), (-0.34, 0.1), (-0.55, 0.1), (-0.2, -0.42), (-0.36, -0.42))
    return [Part(crown, "body"), Part(_box(-0.15, 0.62, 0.15, 0.95), "wood")]


def _car() -> list[Part]:
    hull = np.concatenate([_arc(0.78, 0.12, 0.18, 0.2, -90, 0, 6), _polygon((0.96, 0.44), (-0.96, 0.44)),
                           _arc(-0.8, 0.1, 0.16, 0.18, 180, 270, 6)])
    cabin = np.concatenate([_arc(0.26, -0.36, 0.16, 0.14, -90, 0, 6), _polygon((0.66, 0.0), (-0.66, 0.0)),
                            _arc(-0.34, -0.36, 0.16, 0.14, 180, 270, 6)])
    return [
        Part(hull, "body"), Part(cabin, "body"),
        Part(_polygon((-0.46, -0.08), (-0.32, -0.36), (-0.06, -0.36), (-0.06, -0.08)), "glass"),
        Part(_polygon((0.06, -0.08), (0.06, -0.36), (0.26, -0.36), (0.44, -0.08)), "glass"),
        Part(_ellipse(-0.5, 0.44, 0.25), "ink"), Part(_ellipse(0.5, 0.44, 0.25), "ink"),
        Part(_ellipse(-0.5, 0.44, 0.11), "paper"), Part(_ellipse(0.5, 0.44, 0.11), "paper"),
        Part(_ellipse(0.88, 0.16, 0.07), "paper"),
    ]


def _boat() -> list[Part]:
    hull = np.concatenate([_polygon((-0.92, 0.36), (0.92, 0.36)), _arc(0.3, 0.36, 0.52, 0.46, 10, 90, 8),
                           _arc(-0.3, 0.36, 0.5, 0.46, 90, 170, 8)])
    main = np.concatenate([_polygon((0.06, -0.94)), _arc(0.06, 0.22, 0.72, 1.1, -80, 0, 10), _polygon((0.06, 0.22))])
    return [
        Part(hull, "body"), Part(main, "body"),
        Part(_polygon((-0.06, -0.78), (-0.06, 0.22), (-0.62, 0.22)), "paper"),
        Part(_box(-0.05, -0.96, 0.04, 0.4), "wood"),
    ]


def _fish() -> list[Part]:
    tail = _polygon((-0.42, 0.0), (-0.96, -0.48), (-0.8, 0.0), (-0.96, 0.48))
    fin = np.concatenate([_polygon((-0.3, -0.34)), _arc(0.0, -0.34, 0.3, 0.3, 200, 320, 8), _polygon((0.36, -0.32))])
    return [
        Part(_ellipse(0.22, 0.0, 0.74, 0.5), "body"),
        Part(tail, "shade"), Part(fin, "shade"),
        Part(_polygon((0.05, 0.08), (-0.22, 0.36), (0.2, 0.3)), "shade"),
        Part(_ellipse(0.6, -0.12, 0.13), "paper"), Part(_ellipse(0.63, -0.12, 0.065), "ink"),
    ]


def _butterfly() -> list[Part]:
    wings = [Part(_ellipse(side * 0.48, -0.34, 0.5, 0.38, side * -35), "body") for side in (-1, 1)]
    wings += [Part(_ellipse(side * 0.38, 0.4, 0.38, 0.28, side * 40), "body") for side in (-1, 1)]
    eyes = [Part(_ellipse(side * 0.62, -0.42, 0.13), "paper") for side in (-1, 1)]
    feelers = [Part(_polygon((s * 0.02, -0.5), (s * 0.2, -0.96), (s * 0.27, -0.9), (s * 0.07, -0.46)), "ink")
               for s in (-1, 1)]
    return [*wings, *eyes, *feelers, Part(_ellipse(0, 0.06, 0.1, 0.62), "ink")]


def _mushroom() -> list[Part]:
    cap = np.concatenate([_arc(0, 0.06, 0.92, 0.9, 180, 360, 24), _arc(0.78, 0.06, 0.14, 0.14, 0, 90, 5),
                          _arc(-0.78, 0.06, 0.14, 0.14, 90, 180, 5)])
    stem = np.concatenate([_polygon((-0.24, 0.2), (0.24, 0.2)), _arc(0, 0.7, 0.36, 0.22, 0, 180, 12)])
    return [Part(cap, "body"), Part(stem, "light")]


def _cup() -> list[Part]:
    wall = np.concatenate([_polygon((-0.78, -0.6), (0.46, -0.6)), _arc(0.18, 0.56, 0.2, 0.24, 0, 90, 6),
                           _arc(-0.5, 0.56, 0.2, 0.24, 90, 180, 6)])
    return [
        Part(wall, "body"), Part(_ring(0.44, -0.06, 0.46, 0.25, -80, 100), "shade"),
        Part(_ellipse(-0.16, -0.6, 0.62, 0.17), "light"), Part(_ellipse(-0.16, -0.57, 0.5, 0.11), "wood"),
    ]


def _star() -> list[Part]:
    t = np.radians(np.arange(10) * 36 - 90)
    r = np.where(np.arange(10) % 2 == 0, 1.0, 0.45)
    return [Part(np.stack([r * np.cos(t), r * np.sin(t) + 0.05], axis=1), "body")]


def _heart() -> list[Part]:
    t = np.linspace(0, 2 * math.pi, 48, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return [Part(np.stack([x / 17.5, -(y + 2) / 17.0], axis=1), "body")]


_DRAWERS = {"house": _house, "tree": _tree, "car": _car, "boat": _boat, "fish": _fish, "butterfly": _butterfly,
            "mushroom": _mushroom, "cup": _cup, "star": _star, "heart": _heart}


@cache
def shape(category: str) -> Shape:
    """The silhouette of a category.

    >>> sorted(set(shape("boat").tones))
    ['body', 'paper', 'wood']
    """
    parts = _DRAWERS[category]()
    ends = tuple(np.cumsum([len(part.points) for part in parts]).tolist())
    return Shape(np.concatenate([part.points for part in parts]), ends, tuple(part.tone for part in parts))



@cache
def texture_polygons(texture: str) -> np.ndarray:
    """(k, n, 2) polygons of the second tone, in the unit disc's frame; where two overlap they cancel out.

    Checks are crossing stripes: filled with the even-odd rule, crossings fall back to the first tone.
    """
    if texture == "plain":
        return np.zeros((0, 4, 2))
    if texture == "dotted":
        rows = [(0.46 * col + 0.23 * (row % 2), 0.4 * row) for row in range(-3, 4) for col in range(-3, 4)]
        return np.stack([_ellipse(x, y, 0.14, count=12) for x, y in rows])
    if texture == "striped":
        return np.stack([_box(-1.3, y, 1.3, y + 0.2) for y in np.arange(-1.3, 1.3, 0.4)])
    stripes = [_box(-1.3, y, 1.3, y + 0.28) for y in np.arange(-1.26, 1.3, 0.56)]
    return np.stack([*stripes, *(stripe[:, ::-1] for stripe in stripes)])
