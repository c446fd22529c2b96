"""Boxes and masks in pictures: where the color is, what stands on top, what is left out."""

from __future__ import annotations

import numpy as np
import torch
from mmengine.structures import BaseDataElement, InstanceData

from clipapps.visualization.instances import InstancePainter, Instances, draw_instances

RED, BLUE = (255, 0, 0), (0, 0, 255)
GRAY = np.full((60, 80, 3), 128, np.uint8)


def squares(**changes) -> Instances:
    masks = np.zeros((2, 60, 80), bool)
    masks[0, 10:40, 10:40] = masks[1, 20:50, 20:50] = True
    found = dict(boxes=np.array([[10, 10, 40, 40], [20, 20, 50, 50]], np.float32), labels=np.array([0, 1]),
                 scores=np.array([0.9, 0.4]), masks=masks)
    return Instances(**{**found, **changes})


def test_masks_are_mixed_in_and_the_best_lies_on_top() -> None:
    picture = draw_instances(GRAY, squares(), ("a", "b"), (RED, BLUE), alpha=1.0, with_text=False)
    assert picture[15, 15].tolist() == list(RED) and picture[45, 45].tolist() == list(BLUE)
    assert picture[30, 30].tolist() == list(RED)  # in both masks: the better one
    assert picture[5, 5].tolist() == [128] * 3
    half = draw_instances(GRAY, squares(), ("a", "b"), (RED, BLUE), alpha=0.5, with_text=False)
    assert half[15, 15].tolist() == [192, 64, 64]


def test_boxes_run_along_the_inner_border() -> None:
    picture = draw_instances(GRAY, squares(masks=None, scores=None), ("a", "b"), (RED, BLUE), with_text=False)
    assert picture[10, 15].tolist() == picture[39, 12].tolist() == list(RED)
    assert picture[40, 12].tolist() == [128] * 3 and picture[15, 15].tolist() == [128] * 3


def test_text_changes_the_picture_and_stays_inside() -> None:
    corner = Instances(np.array([[0.0, 0, 79, 59]]), np.array([0]), np.array([0.5]))
    plain = draw_instances(GRAY, corner, ("a long name",), (RED,), with_text=False)
    assert (draw_instances(GRAY, corner, ("a long name",), (RED,)) != plain).any()
    nothing = Instances(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))
    assert np.array_equal(draw_instances(GRAY, nothing, ("a",), (RED,)), GRAY)


def sample(scores) -> BaseDataElement:
    result = BaseDataElement(metainfo=dict(ori_shape=(60, 80), instances=[dict(bbox=[10, 10, 40, 40], label=0)]))
    masks = torch.zeros(1, 60, 80, dtype=torch.bool)
    masks[0, 10:40, 10:40] = True
    result.pred_instances = InstanceData(bboxes=torch.tensor([[10.0, 10, 40, 40]]), labels=torch.tensor([0]),
                                         scores=torch.tensor(scores), masks=masks)
    return result


def test_the_painter_shows_input_truth_and_what_is_above_the_threshold() -> None:
    meta = dict(classes=("a",), palette=(RED,))
    image = torch.full((3, 60, 80), 128, dtype=torch.uint8)
    painter = InstancePainter(score_threshold=0.3, min_side=160)
    sure, unsure = painter.paint(image, sample([0.9]), meta), painter.paint(image, sample([0.1]), meta)
    assert sure.shape == unsure.shape and sure.shape[1] > 3 * 160
    third = sure.shape[1] // 3
    assert np.array_equal(sure[:, :2 * third], unsure[:, :2 * third])  # input and truth
    polygon = dict(bbox=[10, 10, 40, 40], label=0, mask=[[10, 10, 40, 10, 40, 40, 10, 40]])
    runs = dict(bbox=[10, 10, 40, 40], label=0, mask=dict(size=[60, 80], counts=[610, *[30, 30] * 29, 30, 2420]))
    for annotation in (polygon, runs):
        known = sample([0.9])
        known.set_metainfo(dict(instances=[annotation]))
        middle = painter.paint(image, known, meta)[:, third:2 * third]
        assert (middle != sure[:, third:2 * third]).any(axis=2).mean() > 0.05  # the mask of the true object
    assert (sure[:, 2 * third:] != unsure[:, 2 * third:]).any()


def test_a_sample_without_truth_has_two_panels() -> None:
    bare = BaseDataElement(metainfo=dict(ori_shape=(60, 80)))
    bare.pred_instances = sample([0.9]).pred_instances
    image = torch.full((3, 60, 80), 128, dtype=torch.uint8)
    painter, meta = InstancePainter(min_side=160), dict(classes=("a",), palette=(RED,))
    assert painter.paint(image, bare, meta).shape[1] < painter.paint(image, sample([0.9]), meta).shape[1]
