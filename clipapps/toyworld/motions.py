"""Scenes in motion, of which no single frame tells what happens.

The fourteen motions come in seven pairs. Five pairs are the same film run forwards and backwards, so that both have
exactly the same frames: left and right, up and down, the two ways to turn, growing and shrinking, appearing and
disappearing. Two objects that meet either bounce back or pass through each other: every frame of the one film is a
frame of the other or of its mirror image. And of two overlapping objects a frame shows which is in front, but not
which of them moves, so that passing in front and passing behind look alike.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .render import render
from .scene import Scene, SceneObject, SceneSpec, sample_scene, scene_random

MOTIONS: tuple[str, ...] = (
    "moves left", "moves right", "moves up", "moves down", "turns clockwise", "turns counterclockwise", "grows",
    "shrinks", "appears", "disappears", "passes in front", "passes behind", "bounces back", "passes through")
"""Class names; label k is `MOTIONS[k]`, and `k ^ 1` is the other one of its pair."""

_PURPOSE = 7  # of the random draws, so that they share nothing with those of still scenes
_RADIUS = (0.12, 0.155)
_PAIRS = ("horizontal", "vertical", "turn", "size", "presence", "depth", "meeting")
_BACKWARDS = frozenset({"moves left", "moves up", "turns counterclockwise", "shrinks", "disappears"})


@dataclass(frozen=True, slots=True)
class Motion:
    """One film: who is there, and what happens between time 0 and 1.

    Args:
        name: one of `MOTIONS`.
        scene: background, light, and one object, or two: the moving one and the still one, or the two that meet.
        extent: how far: path as a fraction of the image side, turn in degrees, or largest over smallest radius.
        moment: when an object appears, 0..1.
        side: 1 or -1: where the moving object comes from, or which of the two that meet is on the left.
    """

    name: str
    scene: Scene
    extent: float
    moment: float = 0.5
    side: int = 1

    @property
    def label(self) -> int:
        """0..13."""
        return MOTIONS.index(self.name)

    def at(self, time: float) -> Scene:
        """The scene at a time from 0 to 1."""
        time = 1 - time if self.name in _BACKWARDS else time
        return replace(self.scene, objects=_OBJECTS_AT[_PAIRS[self.label // 2]](self, time))

    def frames(self, count: int, size: int) -> np.ndarray:
        """`count` frames at the middles of equal parts of the time, (count, size, size, 3) uint8 RGB."""
        return np.stack([render(self.at((number + 0.5) / count), size).image for number in range(count)])


def sample_motion(seed: int, index: int, label: int | None = None, spec: SceneSpec | None = None) -> Motion:
    """The film of that seed and index.

    Args:
        seed, index: all that it depends on.
        label: of the motion; None takes `index % 14`. The two motions of a pair differ in nothing but the name.
        spec: what may be drawn; counts of objects, tilt, depth and groups are given by the motion.

    >>> sample_motion(0, 3).name
    'moves down'
    """
    label = index % len(MOTIONS) if label is None else label
    pair = _PAIRS[label // 2]
    rng = scene_random(seed, index, _PURPOSE)
    count = 2 if pair in ("depth", "meeting") else 1
    spec = replace(spec or SceneSpec(), min_objects=count, max_objects=count, tilted=0.0, depth=0.0, group=0.0,
                   empty=0.0, sizes=("medium",))
    scene = sample_scene(seed, index, spec)
    low, high = (0.14, 0.86) if pair in ("horizontal", "vertical") else (0.28, 0.72)
    extent = {"horizontal": (0.42, 0.6), "vertical": (0.42, 0.6), "turn": (120, 170), "size": (2.2, 2.8),
              "presence": (0, 0), "depth": (0.6, 0.75), "meeting": (0.56, 0.7)}[pair]
    reach = rng.uniform(*extent)
    x, y = rng.uniform(low, high), rng.uniform(low, high)
    if pair == "depth":  # spread as wide as the moving one, or a frame would tell them apart by where they are
        x = rng.uniform(0.1, 0.9)
    if pair in ("horizontal", "meeting"):
        x = _middle(rng, reach)
    elif pair == "vertical":
        y = _middle(rng, reach)
    angle = rng.uniform(-180, 180) if pair == "turn" else 0.0
    objects = tuple(_placed(item, x, y, rng.uniform(*_RADIUS), angle) for item in _told_apart(scene.objects, rng, spec))
    return Motion(MOTIONS[label], replace(scene, objects=objects), reach, rng.uniform(0.3, 0.7), rng.choice((-1, 1)))


def _middle(rng: random.Random, reach: float) -> float:
    """The middle of a path of that length which stays in the picture."""
    slack = max(0.0, 0.5 - reach / 2 - 0.12)
    return 0.5 + rng.uniform(-slack, slack)


def _placed(item: SceneObject, x: float, y: float, radius: float, angle: float) -> SceneObject:
    return replace(item, x=x, y=y, radius=radius, angle=angle, distance="middle")


def _told_apart(objects: tuple[SceneObject, ...], rng: random.Random, spec: SceneSpec) -> list[SceneObject]:
    """The objects, of which a second one has another category and color than the first where there are others."""
    first, *others = objects
    if others:
        categories = [name for name in spec.categories if name != first.category] or [first.category]
        colors = [name for name in spec.colors if name != first.color] or [first.color]
        others = [replace(others[0], category=rng.choice(categories), color=rng.choice(colors))]
    return [first, *others]


def _horizontal(motion: Motion, time: float) -> tuple[SceneObject, ...]:
    [item] = motion.scene.objects
    return (replace(item, x=item.x + motion.extent * (time - 0.5)),)


def _vertical(motion: Motion, time: float) -> tuple[SceneObject, ...]:
    [item] = motion.scene.objects
    return (replace(item, y=item.y + motion.extent * (time - 0.5)),)


def _turn(motion: Motion, time: float) -> tuple[SceneObject, ...]:
    [item] = motion.scene.objects
    return (replace(item, angle=item.angle + motion.extent * (time - 0.5)),)


def _size(motion: Motion, time: float) -> tuple[SceneObject, ...]:
    [item] = motion.scene.objects
    return (replace(item, radius=item.radius * math.exp(math.log(motion.extent) * (time - 0.5))),)


def _presence(motion: Motion, time: float) -> tuple[SceneObject, ...]:
    return motion.scene.objects if time >= motion.moment else ()


def _depth(motion: Motion, time: float) -> tuple[SceneObject, ...]:
    """One object stands still, the other comes from outside or nearly so and crosses it."""
    mover, still = motion.scene.objects
    mover = replace(mover, x=still.x + motion.side * motion.extent * (time - 0.5))
    return (still, mover) if motion.name == "passes in front" else (mover, still)


def _meeting(motion: Motion, time: float) -> tuple[SceneObject, ...]:
    """Both come from the sides and meet in the middle; afterwards they go back, or on."""
    gap = motion.side * motion.extent * (1 - 2 * time)
    gap = motion.side * abs(gap) if motion.name == "bounces back" else gap
    left, right = motion.scene.objects
    return replace(left, x=left.x - gap / 2), replace(right, x=right.x + gap / 2)


_OBJECTS_AT: dict[str, Callable[[Motion, float], tuple[SceneObject, ...]]] = dict(
    horizontal=_horizontal, vertical=_vertical, turn=_turn, size=_size, presence=_presence, depth=_depth,
    meeting=_meeting)
