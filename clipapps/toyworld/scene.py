"""What a scene is, and how one is drawn from a seed.

A scene is data without pixels: lengths are fractions of the image side, so that one scene renders at any size. All
classes are frozen; a changed scene (another light, a moved object, the next frame) is `dataclasses.replace` away.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, fields
from typing import Any

from clipapps.errors import ConfigError, did_you_mean

from . import vocabulary as words

RADIUS_RANGES: dict[str, tuple[float, float]] = {"small": (0.085, 0.11), "medium": (0.14, 0.175), "large": (0.22, 0.28)}
"""Radius of an object of each size at middle distance, as a fraction of the image side."""
DISTANCE_SCALE: dict[str, float] = {"near": 1.25, "middle": 1.0, "far": 0.6}
DISTANCE_HEIGHT: dict[str, tuple[float, float]] = {"near": (0.6, 0.95), "middle": (0.0, 1.0), "far": (0.25, 0.5)}
"""Where the center of a near, middle, far object may lie, as a fraction of the image height from the top."""
ANGLES: dict[str, float] = {"upright": 0.0, "tilted left": -38.0, "tilted right": 38.0, "upside down": 180.0}
ANGLE_JITTER = 7.0
_PLACING_TRIES = 24
_CLEARANCE = 0.9


@dataclass(frozen=True, slots=True)
class SceneObject:
    """One object: its attributes by name, and its exact geometry.

    Args:
        category: one of `vocabulary.CATEGORIES`; color, texture, size, orientation and distance likewise.
        x: center from the left, as a fraction of the image side; y: center from the top.
        radius: radius of the unit disc that holds the silhouette, as a fraction of the image side.
        angle: clockwise turn in degrees.
        stretch: width over height of the drawn shape, about 0.9..1.1.
        mirrored: whether the silhouette is flipped left to right before it is turned.
    """

    category: str
    color: str
    texture: str
    size: str
    orientation: str
    distance: str
    x: float
    y: float
    radius: float
    angle: float = 0.0
    stretch: float = 1.0
    mirrored: bool = False

    @property
    def position(self) -> str:
        """Where the center lies: one of `vocabulary.POSITIONS`."""
        return position_name(self.x, self.y)

    @property
    def label(self) -> int:
        """Semantic label, 1..10."""
        return words.CATEGORIES.index(self.category) + 1


@dataclass(frozen=True, slots=True)
class Scene:
    """A background, a lighting, and 0 to 4 objects from the farthest to the nearest.

    Args:
        background: one of `vocabulary.BACKGROUNDS`, or "plain".
        lighting: one of `vocabulary.LIGHTINGS`.
        objects: painted in this order, so a later one covers an earlier one.
        detail_seed: fixes clouds, waves, bricks and the like.
    """

    background: str
    lighting: str
    objects: tuple[SceneObject, ...]
    detail_seed: int = 0


@dataclass(frozen=True)
class SceneSpec:
    """Which scenes may be drawn; every tuple lists the allowed values.

    Args:
        min_objects: fewest objects, 0..4; max_objects: most objects.
        backlit: probability of the backlit lighting; dark: of the dark one; the rest is well-lit.
        tilted: probability that an object does not stand upright.
        depth: probability that an object is near or far instead of at middle distance.
        group: probability that all objects share category and color ("three red cups").
        empty: probability of no object at all, whatever `min_objects` says.

    Raises:
        ConfigError: a value that the toy world does not have, or impossible object counts.
    """

    min_objects: int = 1
    max_objects: int = 1
    categories: tuple[str, ...] = words.CATEGORIES
    colors: tuple[str, ...] = words.COLORS
    textures: tuple[str, ...] = words.TEXTURES
    sizes: tuple[str, ...] = words.SIZES
    backgrounds: tuple[str, ...] = words.BACKGROUNDS
    backlit: float = 0.08
    dark: float = 0.08
    tilted: float = 0.15
    depth: float = 0.0
    group: float = 0.15
    empty: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.min_objects <= self.max_objects <= 4:
            raise ConfigError(f"A toy scene holds 0 to 4 objects; min_objects={self.min_objects}, "
                              f"max_objects={self.max_objects} is no such range.")
        allowed = {"categories": words.CATEGORIES, "colors": words.COLORS, "textures": words.TEXTURES,
                   "sizes": words.SIZES, "backgrounds": (*words.BACKGROUNDS, words.PLAIN_BACKGROUND)}
        for name, known in allowed.items():
            values = tuple(getattr(self, name))
            object.__setattr__(self, name, values)
            for value in values:
                if value not in known:
                    raise ConfigError(f"The toy world has no {value!r} among its {name}."
                                      f"{did_you_mean(value, known)} It has: {', '.join(known)}.")
            if not values:
                raise ConfigError(f"SceneSpec.{name} is empty; give at least one of: {', '.join(known)}.")


def make_spec(spec: SceneSpec | dict[str, Any] | None) -> SceneSpec:
    """A SceneSpec from a config dict; raises ConfigError on an unknown key."""
    if isinstance(spec, SceneSpec):
        return spec
    known = [field.name for field in fields(SceneSpec)]
    for key in spec or {}:
        if key not in known:
            raise ConfigError(f"A toy scene spec has no key {key!r}.{did_you_mean(key, known)}")
    return SceneSpec(**(spec or {}))


def scene_random(seed: int, index: int, purpose: int = 0) -> random.Random:
    """A generator that depends on (seed, index, purpose) alone, whatever process asks."""
    return random.Random((seed * 1_000_003 + purpose) * 4_294_967_311 + index)


def position_name(x: float, y: float) -> str:
    """The name of a place in the unit square; the middle ninth is "center".

    >>> position_name(0.1, 0.4), position_name(0.5, 0.9), position_name(0.5, 0.5)
    ('left', 'bottom', 'center')
    """
    dx, dy = x - 0.5, y - 0.5
    if max(abs(dx), abs(dy)) < 1 / 6:
        return "center"
    if abs(dx) >= abs(dy):
        return "left" if dx < 0 else "right"
    return "top" if dy < 0 else "bottom"


def sample_scene(seed: int, index: int, spec: SceneSpec | None = None) -> Scene:
    """The scene of that seed and index.

    >>> sample_scene(0, 7) == sample_scene(0, 7)
    True
    """
    spec = spec or SceneSpec()
    rng = scene_random(seed, index)
    count = rng.randint(spec.min_objects, spec.max_objects)
    if spec.empty and rng.random() < spec.empty:
        count = 0
    shared = None
    if count > 1 and rng.random() < spec.group:
        shared = (rng.choice(spec.categories), rng.choice(spec.colors))
    objects: list[SceneObject] = []
    for _ in range(count):
        objects.append(_sample_object(rng, spec, count, shared, objects))
    objects.sort(key=lambda o: (-words.DISTANCES.index(o.distance), o.y))
    light = rng.random()
    lighting = "backlit" if light < spec.backlit else "dark" if light < spec.backlit + spec.dark else "well-lit"
    return Scene(rng.choice(spec.backgrounds), lighting, tuple(objects), rng.getrandbits(30))


def _sample_object(rng: random.Random, spec: SceneSpec, count: int, shared: tuple[str, str] | None,
                   placed: list[SceneObject]) -> SceneObject:
    category, color = shared or (rng.choice(spec.categories), rng.choice(spec.colors))
    orientation = rng.choice(words.ORIENTATIONS[1:]) if rng.random() < spec.tilted else "upright"
    distance = rng.choice(("near", "far")) if rng.random() < spec.depth else "middle"
    size = rng.choice(_sizes_that_fit(spec.sizes, count, placed))
    texture, mirrored = rng.choice(spec.textures), rng.random() < 0.5
    angle = ANGLES[orientation] + rng.uniform(-ANGLE_JITTER, ANGLE_JITTER)
    stretch = rng.uniform(0.9, 1.1)
    radius = rng.uniform(*RADIUS_RANGES[size]) * DISTANCE_SCALE[distance]
    x, y, radius = place(rng, radius, distance, placed, RADIUS_RANGES[size][0] * DISTANCE_SCALE[distance])
    return SceneObject(category, color, texture, size, orientation, distance, x, y, radius, angle, stretch, mirrored)


def _sizes_that_fit(sizes: tuple[str, ...], count: int, placed: list[SceneObject]) -> tuple[str, ...]:
    """In crowded scenes at most one object is large, so that every object stays visible."""
    if count < 3 or not any(o.size == "large" for o in placed):
        return sizes
    return tuple(s for s in sizes if s != "large") or sizes


def place(rng: random.Random, radius: float, distance: str, placed: list[SceneObject],
          smallest_radius: float) -> tuple[float, float, float]:
    """Center and radius clear of what is placed, or the clearest tried; at worst the radius is `smallest_radius`."""
    top, bottom = DISTANCE_HEIGHT[distance]
    best = (-math.inf, 0.5, 0.5, radius)
    for attempt in range(_PLACING_TRIES):
        r = radius + (smallest_radius - radius) * attempt / _PLACING_TRIES
        margin = min(0.5, 0.92 * r)
        low, high = max(top, margin), min(bottom, 1 - margin)
        x, y = rng.uniform(margin, 1 - margin), rng.uniform(min(low, high), max(low, high))
        gap = min((math.hypot(x - o.x, y - o.y) / (r + o.radius) for o in placed), default=math.inf)
        if gap >= _CLEARANCE:
            return x, y, r
        best = max(best, (gap, x, y, r))
    return best[1:]
