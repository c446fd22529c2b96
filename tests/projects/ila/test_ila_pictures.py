"""What is drawn lies where it belongs."""

from __future__ import annotations

import numpy as np

from clipapps.projects.ila.pictures import BACKWARD, FORWARD, bars, strip, timeline


def colored(picture: np.ndarray, color) -> np.ndarray:
    return np.argwhere((np.abs(picture.astype(int) - color) < 40).all(axis=-1))


def test_points_are_rings_in_the_frames_of_their_pair():
    frames = np.zeros((2, 64, 64, 3), np.uint8)
    picture = strip(frames, [0.0, 0.5], np.array([[-0.5, 0.5, 0.5, -0.5]]), height=256)
    forward, backward = colored(picture, FORWARD).mean(axis=0), colored(picture, BACKWARD).mean(axis=0)
    middle = picture.shape[1] / 2
    assert forward[1] < middle < backward[1]  # the first point in the first frame, the second in the second
    assert forward[0] > backward[0]  # below, above
    assert abs(backward[1] - forward[1] - (256 + 8 + 128)) < 4


def test_no_points_no_rings():
    picture = strip(np.zeros((3, 16, 16, 3), np.uint8), [0.0, 1.0, 2.0])
    assert not len(colored(picture, FORWARD))


def test_bars_are_as_long_as_scores_are_high():
    picture = bars(["one", "two"], [0.9, 0.3], width=600)
    blue = (np.abs(picture.astype(int) - (70, 120, 200)) < 5).all(axis=-1)
    lengths = [row.sum() for row in blue if row.any()]
    assert 2.8 < max(lengths) / min(lengths) < 3.2


def test_a_timeline_is_dark_where_a_class_is_probable():
    picture = timeline(["one", "two"], np.array([[1.0, 0.0], [0.0, 1.0]]), [(0, 1), (1, 2)], width=400)
    blue = (np.abs(picture.astype(int) - (70, 120, 200)) < 5).all(axis=-1)
    first, second = blue[:26].nonzero()[1], blue[32:57].nonzero()[1]
    assert first.max() < second.min()
