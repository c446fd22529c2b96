"""Scenes: a function of (seed, index), within their spec; pairs differ in one attribute."""

from __future__ import annotations

from collections import Counter

import pytest

from clipapps.errors import ConfigError
from clipapps.toyworld import (
    CATEGORIES,
    LIGHTINGS,
    PAIR_ATTRIBUTES,
    SceneSpec,
    differences,
    sample_pair,
    sample_scene,
)
from clipapps.toyworld.scene import ANGLE_JITTER, ANGLES, DISTANCE_SCALE, RADIUS_RANGES, make_spec, position_name

CROWDED = SceneSpec(min_objects=1, max_objects=4, depth=0.4)


def test_a_scene_depends_on_seed_and_index_alone() -> None:
    first = [sample_scene(3, i, CROWDED) for i in range(20)]
    second = [sample_scene(3, i, CROWDED) for i in reversed(range(20))][::-1]
    assert first == second
    assert sum(a == b for a, b in zip(first, (sample_scene(4, i, CROWDED) for i in range(20)), strict=True)) == 0


def test_geometry_agrees_with_the_attribute_names() -> None:
    for index in range(300):
        for item in sample_scene(0, index, CROWDED).objects:
            low, high = RADIUS_RANGES[item.size]
            scale = DISTANCE_SCALE[item.distance]
            assert low * scale - 1e-9 <= item.radius <= high * scale + 1e-9
            assert abs(item.angle - ANGLES[item.orientation]) <= ANGLE_JITTER
            assert 0 < item.x < 1 and 0 < item.y < 1
            assert item.position == position_name(item.x, item.y)


def test_size_names_never_overlap() -> None:
    ranges = [RADIUS_RANGES[size] for size in ("small", "medium", "large")]
    assert ranges[0][1] < ranges[1][0] and ranges[1][1] < ranges[2][0]


def test_values_are_spread_evenly_and_light_is_mostly_good() -> None:
    scenes = [sample_scene(1, i) for i in range(2000)]
    categories = Counter(scene.objects[0].category for scene in scenes)
    assert set(categories) == set(CATEGORIES)
    assert all(140 < count < 260 for count in categories.values())
    light = Counter(scene.lighting for scene in scenes)
    assert set(light) == set(LIGHTINGS)
    assert 0.78 < light["well-lit"] / 2000 < 0.9


def test_a_spec_restricts_what_is_drawn() -> None:
    spec = SceneSpec(min_objects=2, max_objects=3, categories=("cup",), colors=("red", "blue"), sizes=("small",),
                     backgrounds=("sea",), backlit=0, dark=1.0)
    for index in range(50):
        scene = sample_scene(0, index, spec)
        assert 2 <= len(scene.objects) <= 3
        assert scene.background == "sea" and scene.lighting == "dark"
        assert {o.category for o in scene.objects} == {"cup"} and {o.color for o in scene.objects} <= {"red", "blue"}


def test_empty_scenes_come_with_their_probability() -> None:
    spec = SceneSpec(empty=0.3)
    share = sum(not sample_scene(0, i, spec).objects for i in range(1000)) / 1000
    assert 0.25 < share < 0.35


@pytest.mark.parametrize(("bad", "words"), [
    (dict(colors=["gren"]), ["'gren'", "'green'"]),
    (dict(min_objects=3, max_objects=2), ["0 to 4"]),
    (dict(max_object=2), ["max_object", "max_objects"]),
    (dict(sizes=[]), ["empty"]),
])
def test_a_wrong_spec_is_refused_with_its_key(bad: dict, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        make_spec(bad)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("attribute", PAIR_ATTRIBUTES)
def test_pairs_differ_in_exactly_the_named_attribute(attribute: str) -> None:
    for index in range(60):
        pair = sample_pair(0, index, attribute)
        assert differences(pair.first, pair.second) == {attribute}
        assert pair.values[0] != pair.values[1]
        assert pair == sample_pair(0, index, attribute)


def test_pairs_of_every_attribute_are_drawn() -> None:
    assert {sample_pair(2, i).attribute for i in range(200)} == set(PAIR_ATTRIBUTES)
