"""Films of the toy world: what happens shows in their order alone, never in one frame."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from clipapps.errors import ConfigError
from clipapps.registry import DATASETS
from clipapps.toyworld import CATEGORIES, MOTIONS, ToyWorldVideos, sample_motion
from clipapps.toyworld.motions import _BACKWARDS

FRAMES, SIZE = 8, 32


def film(label: int, index: int = 5) -> np.ndarray:
    return sample_motion(3, index, label).frames(FRAMES, SIZE)


def contents(frames: np.ndarray) -> Counter[bytes]:
    return Counter(frame.tobytes() for frame in frames)


def test_fourteen_motions_in_pairs():
    assert len(MOTIONS) == len(set(MOTIONS)) == 14
    assert [sample_motion(0, index).label for index in range(28)] == 2 * list(range(14))
    for label in range(0, 14, 2):
        one, other = sample_motion(0, 9, label), sample_motion(0, 9, label ^ 1)
        assert replace(one, name=other.name) == other  # nothing but the name differs


@pytest.mark.parametrize("label", range(0, 10, 2))
def test_reversed_pairs_have_the_same_frames(label):
    one, other = film(label), film(label + 1)
    assert (one == other[::-1]).all()
    assert not (one == other).all()
    assert (MOTIONS[label] in _BACKWARDS) != (MOTIONS[label + 1] in _BACKWARDS)


@pytest.mark.parametrize("index", range(3))
def test_bouncing_and_passing_through_have_the_same_frames(index):
    motions = [[replace(sample_motion(3, index, label), side=side) for side in (1, -1)] for label in (12, 13)]
    bounce, through = ([motion.frames(FRAMES, SIZE) for motion in pair] for pair in motions)
    assert contents(np.concatenate(bounce)) == contents(np.concatenate(through))
    assert (bounce[0][:4] == through[0][:4]).all()
    assert (bounce[0][4:] == through[1][4:]).all()


def test_of_overlapping_objects_a_frame_does_not_tell_which_moves():
    """Front minus back, as a frame shows it, has the same distribution for both; and so has where they stand."""
    offsets: dict[int, list[float]] = {10: [], 11: []}
    places: dict[int, list[float]] = {10: [], 11: []}
    for index in range(400):
        for label, found in offsets.items():
            for time in (0.2, 0.4, 0.6, 0.8):
                back, front = sample_motion(0, index, label).at(time).objects
                found.append(front.x - back.x)
                if abs(front.x - back.x) < 0.25:
                    places[label].append(front.x - 0.5)
    first, second = (np.sort(offsets[label]) for label in (10, 11))
    assert np.abs(first - second).max() < 0.03
    assert abs(np.std(places[10]) - np.std(places[11])) < 0.05
    assert abs(np.mean(places[10]) - np.mean(places[11])) < 0.03


def test_mean_frames_of_pairs_agree():
    for label in (10, 12):
        means = [np.mean([film(kind, index).mean(axis=(0, 1, 2)) for index in range(30)], axis=0)
                 for kind in (label, label + 1)]
        assert np.abs(means[0] - means[1]).max() < 1.5


@pytest.mark.parametrize(("name", "axis", "sign"), [("moves left", 1, -1), ("moves right", 1, 1), ("moves up", 0, -1),
                                                    ("moves down", 0, 1)])
def test_objects_go_where_the_name_says(name, axis, sign):
    motion = sample_motion(0, 1, MOTIONS.index(name))
    [first], [last] = motion.at(0).objects, motion.at(1).objects
    move = (last.y - first.y, last.x - first.x)
    assert move[axis] * sign > 0.4
    assert move[1 - axis] == 0
    assert 0.1 < min(first.x, first.y, last.x, last.y)
    assert max(first.x, first.y, last.x, last.y) < 0.9


def test_the_other_motions_do_what_their_names_say():
    ends = {name: [sample_motion(0, 2, MOTIONS.index(name)).at(time).objects for time in (0, 1)] for name in MOTIONS}
    assert ends["turns clockwise"][1][0].angle - ends["turns clockwise"][0][0].angle > 100
    assert ends["turns counterclockwise"][1][0].angle - ends["turns counterclockwise"][0][0].angle < -100
    assert ends["grows"][1][0].radius > 2 * ends["grows"][0][0].radius
    assert ends["shrinks"][1][0].radius < 0.5 * ends["shrinks"][0][0].radius
    assert [len(objects) for objects in ends["appears"]] == [0, 1]
    assert [len(objects) for objects in ends["disappears"]] == [1, 0]
    still, mover = ends["passes in front"][0]
    assert ends["passes in front"][1][0] == still
    assert ends["passes in front"][1][1].x != mover.x
    assert ends["passes behind"][1][1] == ends["passes behind"][0][1]
    assert ends["bounces back"][0] == ends["bounces back"][1]
    (a, b), (c, d) = ends["passes through"]
    assert (a.x, b.x) == pytest.approx((d.x, c.x))
    assert a.category != b.category


def test_what_is_seen_says_nothing_about_the_motion():
    """Categories and backgrounds are drawn alike for all motions."""
    motions = [sample_motion(0, index) for index in range(14 * 60)]
    for category in CATEGORIES:
        counts = Counter(motion.label for motion in motions if motion.scene.objects[0].category == category)
        assert len(counts) >= 12
    assert len({motion.scene.background for motion in motions if motion.label == 0}) == 8


def test_data_set():
    films = ToyWorldVideos(num_videos=28, frames=5, size=32, seed=1)
    sample = films[17]
    assert sample["inputs"].shape == (5, 3, 32, 32)
    assert sample["inputs"].dtype == torch.uint8
    assert (sample["label"], sample["index"], sample["sample_idx"]) == (3, 17, 17)
    assert films.metainfo["classes"] == MOTIONS
    again = ToyWorldVideos(num_videos=100, frames=5, size=32, seed=1)[17]["inputs"]
    assert (sample["inputs"] == again).all()
    for other in (dict(seed=2), dict(seed=1, split="val")):
        assert not (sample["inputs"] == ToyWorldVideos(28, frames=5, size=32, **other)[17]["inputs"]).all()
    assert (sample["inputs"].numpy().transpose(0, 2, 3, 1) == films.motion(17).frames(5, 32)).all()


def test_some_classes_alone():
    films = ToyWorldVideos(num_videos=4, size=32, classes=("moves up", "grows"))
    assert [(films.motion(index).name, films[index]["label"]) for index in range(4)] == [
        ("moves up", 0), ("grows", 1), ("moves up", 0), ("grows", 1)]
    with pytest.raises(ConfigError, match="no motion 'move up'. Did you mean 'moves up'"):
        ToyWorldVideos(num_videos=4, classes=("move up",))
    with pytest.raises(ConfigError, match="at least 1"):
        ToyWorldVideos(num_videos=0)


def test_the_registry_knows_the_data_sets():
    assert len(DATASETS.build(dict(type="ToyWorldVideos", num_videos=3))) == 3
