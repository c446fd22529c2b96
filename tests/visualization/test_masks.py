"""Colors of masks."""

from __future__ import annotations

import numpy as np

from clipapps.visualization.masks import colorize, distinct_colors, legend, overlay, resize_mask

PALETTE = [(255, 0, 0), (0, 0, 255)]


def test_ids_get_their_colors_and_the_rest_is_hatched_gray():
    mask = np.array([[0, 1, 255, 9]])
    colors = colorize(mask, PALETTE)
    assert colors[0, 0].tolist() == [255, 0, 0]
    assert colors[0, 1].tolist() == [0, 0, 255]
    for place in (2, 3):
        assert len(set(colors[0, place].tolist())) == 1
    hatched = colorize(np.full((20, 20), 255), PALETTE)
    assert set(np.unique(hatched)) == {120, 180}


def test_overlay_mixes_by_alpha():
    image, mask = np.full((2, 2, 3), 100, np.uint8), np.zeros((2, 2), np.uint8)
    assert (overlay(image, mask, PALETTE, 0.0) == image).all()
    assert overlay(image, mask, PALETTE, 1.0)[0, 0].tolist() == [255, 0, 0]
    assert overlay(image, mask, PALETTE, 0.5)[0, 0].tolist() == [178, 50, 50]
    assert overlay(image, mask, PALETTE, 0.5).dtype == np.uint8


def test_a_mask_of_another_size_keeps_whole_ids():
    mask = np.array([[0, 7], [300, 1]])
    large = resize_mask(mask, (8, 8))
    assert set(np.unique(large)) == {0, 1, 7, 300}
    assert large[0, 7] == 7
    assert overlay(np.zeros((8, 8, 3), np.uint8), mask, PALETTE).shape == (8, 8, 3)


def test_colors_differ():
    colors = distinct_colors(40)
    assert len(set(colors)) == 40
    gaps = [sum(abs(a - b) for a, b in zip(x, y, strict=True)) for x in colors[:12] for y in colors[:12] if x != y]
    assert min(gaps) > 40


def test_a_legend_shows_every_color_and_wraps():
    names = [f"class number {index}" for index in range(9)]
    colors = distinct_colors(9)
    narrow, wide = legend(names, colors, width=200), legend(names, colors, width=2000)
    assert narrow.shape[1] == 200
    assert narrow.shape[0] > 3 * wide.shape[0]
    for picture in (narrow, wide):
        assert all((picture == color).all(axis=-1).any() for color in colors)
