"""Pictures in a row."""

from __future__ import annotations

import numpy as np

from clipapps.visualization.panels import side_by_side, stacked


def test_panels_have_one_height_and_keep_their_aspect():
    tall, small = np.full((100, 50, 3), 10, np.uint8), np.full((50, 50, 3), 200, np.uint8)
    row = side_by_side([("a", tall), ("b", small)])
    columns = [(row == value).all(axis=-1).sum(axis=0).max() for value in (10, 200)]
    assert columns == [100, 100]
    assert (row == 200).all(axis=-1).sum(axis=1).max() == 100  # 50 x 50 became 100 x 100


def test_titles_are_drawn_and_cut_to_the_panel():
    panel = np.full((64, 64, 3), 255, np.uint8)
    plain, titled = side_by_side([("", panel)]), side_by_side([("input", panel)])
    long = side_by_side([("a title much too long for its panel", panel)])
    assert titled.shape[0] > plain.shape[0]
    assert (plain == 255).all()
    assert titled.min() < 100
    assert long.shape == titled.shape
    assert (long[:, -8:] == 255).all()


def test_stacking_pads_with_white():
    picture = stacked([np.zeros((2, 4, 3), np.uint8), np.zeros((3, 2, 3), np.uint8)])
    assert picture.shape == (5, 4, 3)
    assert (picture[2:, 2:] == 255).all()
