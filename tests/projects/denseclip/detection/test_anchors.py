"""Anchors: shapes, order, places, and which of them lie in a picture."""

from __future__ import annotations

import math

import pytest
import torch

from clipapps.errors import ConfigError
from clipapps.projects.denseclip.detection.anchors import AnchorGenerator


def test_a_cell_has_ratios_in_the_outer_and_scales_in_the_inner_order():
    anchors = AnchorGenerator(strides=[8], ratios=[0.5, 2.0], scales=[1, 3])
    sides = anchors.cell(8)[:, 2:] - anchors.cell(8)[:, :2]
    pairs = [(ratio, scale) for ratio in (0.5, 2.0) for scale in (1, 3)]
    expected = [(8 * scale / math.sqrt(ratio), 8 * scale * math.sqrt(ratio)) for ratio, scale in pairs]
    torch.testing.assert_close(sides, torch.tensor(expected))
    assert torch.equal(anchors.cell(8)[:, :2], -anchors.cell(8)[:, 2:])  # around the corner of the cell


def test_an_octave_is_cut_into_equal_factors():
    anchors = AnchorGenerator(strides=[8], octave_base_scale=4, scales_per_octave=3)
    assert anchors.scales == pytest.approx([4, 4 * 2 ** (1 / 3), 4 * 2 ** (2 / 3)])
    assert anchors.per_cell == 9


def test_cells_follow_row_by_row():
    grid, = AnchorGenerator(strides=[16], ratios=[1.0], scales=[1]).grid([(2, 3)])
    centers = (grid[:, :2] + grid[:, 2:]) / 2
    assert centers.tolist() == [[0, 0], [16, 0], [32, 0], [0, 16], [16, 16], [32, 16]]


def test_cells_of_the_batch_padding_are_outside():
    anchors = AnchorGenerator(strides=[8, 64], ratios=[1.0], scales=[1, 2])
    fine, coarse = anchors.inside([(4, 6), (1, 1)], picture=(17, 40))
    inside = fine.view(4, 6, 2)
    assert inside[:3, :5].all() and not inside[3].any() and not inside[:, 5].any()
    assert coarse.all()


def test_wrong_numbers_of_levels_and_unclear_scales_are_refused():
    with pytest.raises(ConfigError, match="2 levels, the anchors have 1"):
        AnchorGenerator(strides=[8], scales=[1]).grid([(2, 2), (1, 1)])
    for options in (dict(), dict(scales=[1], octave_base_scale=4, scales_per_octave=3), dict(octave_base_scale=4)):
        with pytest.raises(ConfigError, match="either scales"):
            AnchorGenerator(strides=[8], **options)
