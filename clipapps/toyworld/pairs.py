"""Pairs of scenes that differ in exactly one attribute."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from . import vocabulary as words
from .scene import (
    ANGLES,
    DISTANCE_SCALE,
    RADIUS_RANGES,
    Scene,
    SceneObject,
    SceneSpec,
    place,
    sample_scene,
    scene_random,
)

PAIR_ATTRIBUTES: tuple[str, ...] = ("category", "color", "texture", "size", "orientation", "position", "distance",
                                    "count", "background", "lighting")
_TRIES = 60


@dataclass(frozen=True)
class ScenePair:
    """Two near-identical scenes.

    Args:
        first, second: the scenes; `attribute` is what differs, `values` its value in each.
        object_index: the changed object in both, or -1 when the change is of the scene (count, background, lighting).
    """

    first: Scene
    second: Scene
    attribute: str
    values: tuple[str, str]
    object_index: int = -1


def sample_pair(seed: int, index: int, attribute: str | None = None, spec: SceneSpec | None = None) -> ScenePair:
    """The pair of that seed and index, of a given attribute or of a random one.

    >>> pair = sample_pair(0, 0, "color")
    >>> pair.values[0] != pair.values[1]
    True
    """
    rng = scene_random(seed, index, purpose=2)
    attribute = attribute or rng.choice(PAIR_ATTRIBUTES)
    base = spec or SceneSpec(min_objects=1, max_objects=2, group=0.0)
    scene = sample_scene(seed, index, base)
    if attribute == "count":
        return _count_pair(scene, rng)
    if attribute in ("background", "lighting"):
        names = words.BACKGROUNDS if attribute == "background" else words.LIGHTINGS
        old = getattr(scene, attribute)
        new = rng.choice([name for name in names if name != old])
        second = replace(scene, **{attribute: new})  # type: ignore[arg-type]
        return ScenePair(scene, second, attribute, (old, new))
    k = rng.randrange(len(scene.objects))
    item = scene.objects[k]
    others = [o for i, o in enumerate(scene.objects) if i != k]
    if attribute == "distance":
        item = replace(item, distance="middle")
    changed = _changed(item, attribute, rng, others)
    first = replace(scene, objects=_with(scene.objects, k, item))
    second = replace(scene, objects=_with(scene.objects, k, changed))
    return ScenePair(first, second, attribute, (getattr(item, attribute), getattr(changed, attribute)), k)


def _with(objects: tuple[SceneObject, ...], k: int, item: SceneObject) -> tuple[SceneObject, ...]:
    return (*objects[:k], item, *objects[k + 1:])


def _changed(item: SceneObject, attribute: str, rng: random.Random, others: list[SceneObject]) -> SceneObject:
    if attribute in ("category", "color", "texture"):
        names = {"category": words.CATEGORIES, "color": words.COLORS, "texture": words.TEXTURES}[attribute]
        new = rng.choice([name for name in names if name != getattr(item, attribute)])
        return replace(item, **{attribute: new})  # type: ignore[arg-type]
    if attribute == "size":
        size = rng.choice([n for n in words.SIZES if n != item.size])
        return replace(item, size=size, radius=rng.uniform(*RADIUS_RANGES[size]) * DISTANCE_SCALE[item.distance])
    if attribute == "orientation":
        turn = rng.choice([n for n in words.ORIENTATIONS if n != item.orientation])
        return replace(item, orientation=turn, angle=item.angle - ANGLES[item.orientation] + ANGLES[turn])
    if attribute == "distance":
        distance = rng.choice(("near", "far"))
        return replace(item, distance=distance, radius=item.radius * DISTANCE_SCALE[distance])
    return _moved(item, rng, others)


def _moved(item: SceneObject, rng: random.Random, others: list[SceneObject]) -> SceneObject:
    """The object at a place with another name, clear of the others where possible."""
    for _ in range(_TRIES):
        x, y, _radius = place(rng, item.radius, item.distance, others, item.radius)
        moved = replace(item, x=x, y=y)
        if moved.position != item.position:
            return moved
    return replace(item, x=1 - item.x if abs(item.x - 0.5) > 1 / 6 else 0.25, y=item.y)


def _count_pair(scene: Scene, rng: random.Random) -> ScenePair:
    """One object of a kind against two of that kind."""
    item = scene.objects[-1]
    small = replace(item, radius=min(item.radius, RADIUS_RANGES["medium"][1]),
                    size="small" if item.size == "small" else "medium")
    twin = replace(small, x=1 - small.x, y=small.y)
    x, y, radius = place(rng, small.radius, small.distance, [small], small.radius)
    twin = replace(twin, x=x, y=y, radius=radius)
    return ScenePair(replace(scene, objects=(small,)), replace(scene, objects=(small, twin)), "count", ("1", "2"))


def differences(first: Scene, second: Scene) -> set[str]:
    """Names of the attributes in which two scenes differ, object by object.

    >>> scene = sample_scene(0, 3)
    >>> differences(scene, replace(scene, lighting="none of these"))
    {'lighting'}
    """
    found = {name for name in ("background", "lighting") if getattr(first, name) != getattr(second, name)}
    if len(first.objects) != len(second.objects):
        return found | {"count"}
    for a, b in zip(first.objects, second.objects, strict=True):
        found |= {name for name in ("category", "color", "texture", "size", "orientation", "position", "distance")
                  if getattr(a, name) != getattr(b, name)}
    return found
