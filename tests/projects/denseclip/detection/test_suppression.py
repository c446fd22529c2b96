"""Which boxes remain."""

from __future__ import annotations

import torch

from clipapps.projects.denseclip.detection.suppression import BoxSelection, ProposalSelection

NEAR = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]])


def test_boxes_suppress_their_own_class_alone():
    scores = torch.tensor([[0.9, 0.0], [0.8, 0.7], [0.6, 0.01]])
    found = BoxSelection(score_threshold=0.05, nms_iou=0.5)(NEAR, scores)
    assert list(zip(found.labels.tolist(), found.bboxes[:, 3].tolist(), strict=True)) == [(0, 10), (1, 9), (0, 60)]
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)


def test_one_box_a_class_and_the_cap():
    boxes = torch.stack([NEAR, NEAR + 100], dim=1)  # (N, K, 4)
    scores = torch.tensor([[0.9, 0.8], [0.2, 0.3], [0.7, 0.6]])
    found = BoxSelection(max_per_image=3)(boxes, scores)
    assert found.bboxes[:, 0].tolist() == [0, 100, 50] and found.labels.tolist() == [0, 1, 0]


def test_nothing_above_the_threshold_gives_nothing():
    found = BoxSelection()(NEAR, torch.full((3, 2), 0.05))  # the threshold itself is not enough
    assert len(found) == 0 and found.bboxes.shape == (0, 4)


def test_a_level_gives_its_best_by_the_best_class():
    scores = torch.tensor([[0.1, 0.2], [0.9, 0.0], [0.3, 0.5]])
    assert BoxSelection(nms_pre=2).best_of_level(scores).tolist() == [1, 2]
    assert len(BoxSelection(nms_pre=9).best_of_level(scores)) == 3


def test_proposals_suppress_their_own_level_alone_and_need_area():
    flat = torch.tensor([[3.0, 3, 3, 9], [4, 4, 9, 4]])
    levels = [torch.cat([NEAR[:2], flat]), NEAR[:1]]
    found = ProposalSelection(nms_iou=0.7)(levels, [torch.tensor([0.9, 0.8, 1.0, 1.0]), torch.tensor([0.85])])
    assert found.scores.tolist() == torch.tensor([0.9, 0.85]).tolist()
    assert len(ProposalSelection(max_per_image=1)(levels, [torch.rand(4), torch.rand(1)])) == 1
