"""The auxiliary loss on score maps: targets on hand cases, the loss in double precision, no box at all."""

from __future__ import annotations

import math

import pytest
import torch
from mmengine.structures import InstanceData

from clipapps.projects.denseclip.detection.box_guidance import BoxScoreLoss
from clipapps.projects.denseclip.detection.samples import DetectionSample


def sample(boxes, labels) -> DetectionSample:
    found = DetectionSample()
    found.gt_instances = InstanceData(bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
                                      labels=torch.tensor(labels, dtype=torch.long))
    return found


def cells(row) -> str:
    return "".join("1" if value else "." for value in row.tolist())


@pytest.mark.parametrize(("box", "ours", "released"), [
    ([4, 0, 12, 4], ".11..", ".11.."),  # whole cells
    ([5, 0, 11.9, 4], ".1...", ".1..."),  # both ends are cut to whole cells
    ([12, 0, 20, 4], "...11", "...1."),  # the released code ends one cell early at the border
    ([5, 0, 7, 4], ".1...", "....."),  # and loses boxes within one cell
    ([-9, 0, 99, 4], "11111", "1111."),
])
def test_cells_of_a_box(box, ours, released):
    # Three rows of cells: the rule of the border must not touch the first one.
    for as_released, expected in ((False, ours), (True, released)):
        loss = BoxScoreLoss(as_released=as_released)
        target, inside = loss.targets(torch.tensor([box], dtype=torch.float32), torch.tensor([1]), 2, (3, 5))
        assert cells(target[1, 0]) == cells(inside[0]) == expected
        assert target[0].sum() == 0 and target[1, 1:].sum() == 0


def test_boxes_of_several_classes_overlap():
    boxes = torch.tensor([[0.0, 0, 8, 8], [4, 4, 12, 12], [4, 4, 12, 12]])
    target, inside = BoxScoreLoss().targets(boxes, torch.tensor([0, 1, 1]), 2, (3, 3))
    assert target[:, 1, 1].tolist() == [1, 1] and target.max() == 1
    assert inside.sum() == 4 + 4 - 1


def test_the_loss_equals_the_formula_in_double_precision():
    scores = 3 * torch.randn(2, 2, 2, 3, generator=torch.Generator().manual_seed(0))
    samples = [sample([[0, 0, 30, 20], [20, 10, 90, 60]], [0, 1]), sample([[40, 0, 60, 30]], [1])]
    loss = BoxScoreLoss()
    logits = loss.upsample(scores, (64, 96)).double()
    total, count = 0.0, 0
    for image, one in enumerate(samples):
        target, inside = loss.targets(one.gt_instances.bboxes, one.gt_instances.labels, 2, (16, 24))
        for row, column in inside.nonzero().tolist():
            count += 1
            for index in range(2):
                p = 1 / (1 + math.exp(-logits[image, index, row, column]))
                total -= math.log(p if target[index, row, column] else 1 - p)
    assert loss(scores, (64, 96), samples).item() == pytest.approx(total / (2 * count), rel=1e-5)
    assert BoxScoreLoss(weight=0.5)(scores, (64, 96), samples).item() == pytest.approx(total / (4 * count), rel=1e-5)


def test_without_a_box_the_loss_is_zero_and_has_a_gradient():
    scores = torch.randn(1, 2, 2, 2, requires_grad=True)
    loss = BoxScoreLoss()(scores, (64, 64), [sample([], [])])
    loss.backward()
    assert loss.item() == 0 and torch.equal(scores.grad, torch.zeros_like(scores))


def test_large_scores_stay_finite():
    scores = torch.full((1, 2, 2, 2), 200.0)
    assert BoxScoreLoss()(scores, (64, 64), [sample([[0, 0, 40, 40]], [0])]).isfinite()
