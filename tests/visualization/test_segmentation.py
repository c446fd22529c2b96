"""The picture of a segmentation sample."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from clipapps.visualization.segmentation import SegmentationPainter, names_and_colors

META = {"classes": ("sky", "road", "tree"), "palette": [[0, 0, 250], [100, 100, 100], [0, 250, 0]]}


def sample(truth: list[list[int]] | None, prediction: list[list[int]]) -> SimpleNamespace:
    parts = {"pred_sem_seg": SimpleNamespace(data=torch.tensor([prediction]))}
    if truth is not None:
        parts["gt_sem_seg"] = SimpleNamespace(data=torch.tensor([truth]))
    return SimpleNamespace(**parts)


def test_input_truth_and_prediction_side_by_side():
    inputs = torch.zeros(3, 4, 4, dtype=torch.uint8)
    inputs[0] = 200  # blue in BGR
    picture = SegmentationPainter(alpha=1.0, min_side=64).paint(
        inputs, sample([[0, 0], [1, 255]], [[2, 2], [2, 2]]), META)
    panel = [picture[60, x].tolist() for x in (40, 40 + 72, 40 + 144)]
    assert panel[0] == [0, 0, 200]
    assert panel[1][0] == panel[1][1] == panel[1][2]  # ignored pixels are gray
    assert panel[2] == [0, 250, 0]
    assert (picture == META["palette"][0]).all(axis=-1).any()  # the truth's sky and the legend's chip
    assert SegmentationPainter(channel_order="rgb", alpha=0.0, min_side=64).paint(
        inputs, sample(None, [[0]]), META)[60, 40].tolist() == [200, 0, 0]


def test_without_truth_there_are_two_panels():
    inputs = torch.rand(3, 8, 8)
    painter = SegmentationPainter(min_side=64)
    two = painter.paint(inputs, sample(None, [[0]]), META)
    three = painter.paint(inputs, sample([[0]], [[0]]), META)
    assert three.shape[1] - two.shape[1] == 72


def test_a_data_set_without_names_or_colors():
    names, colors = names_and_colors({}, (np.array([[0, 4, 255]]), None))
    assert names == [f"class {index}" for index in range(5)]
    assert len(set(colors)) == 5
    assert names_and_colors({"classes": ("a",)})[0] == ["a"]


def test_it_takes_mmseg_samples():
    structures = pytest.importorskip("mmseg.structures")
    from mmengine.structures import PixelData

    mm = structures.SegDataSample(gt_sem_seg=PixelData(data=torch.zeros(1, 4, 6, dtype=torch.long)),
                                  pred_sem_seg=PixelData(data=torch.ones(1, 4, 6, dtype=torch.long)))
    picture = SegmentationPainter().paint(torch.zeros(3, 4, 6, dtype=torch.uint8), mm, META)
    assert picture.shape[1] == 3 * 256 + 4 * 8
