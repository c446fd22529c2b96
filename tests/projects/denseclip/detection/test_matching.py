"""Assignment on hand cases, sampling, and the targets of anchors."""

from __future__ import annotations

import pytest
import torch

from clipapps.errors import ConfigError
from clipapps.projects.denseclip.detection.box_coder import BoxCoder
from clipapps.projects.denseclip.detection.matching import (
    IGNORED,
    NEGATIVE,
    AnchorMatcher,
    MaxIoUAssigner,
    RandomSampler,
)

# Overlap with the object (0, 0, 10, 10): 1, 0.6, 0.45, 0.2, 0.
BOXES = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 6], [0, 0, 10, 4.5], [0, 0, 10, 2], [40, 40, 50, 50]])
OBJECT = torch.tensor([[0.0, 0, 10, 10]])


def test_thresholds():
    assigner = MaxIoUAssigner(pos_iou=0.5, neg_iou=0.4)
    assert assigner(BOXES, OBJECT).tolist() == [0, 0, IGNORED, NEGATIVE, NEGATIVE]


def test_an_object_claims_its_best_boxes_below_the_threshold():
    boxes = BOXES[3:]
    assert MaxIoUAssigner(0.7, 0.3, min_pos_iou=0.1)(boxes, OBJECT).tolist() == [0, NEGATIVE]
    assert MaxIoUAssigner(0.7, 0.3, min_pos_iou=0.3)(boxes, OBJECT).tolist() == [NEGATIVE, NEGATIVE]
    assert MaxIoUAssigner(0.7, 0.3, match_low_quality=False)(boxes, OBJECT).tolist() == [NEGATIVE, NEGATIVE]


def test_all_equally_good_boxes_are_claimed_and_the_last_object_wins():
    twins = torch.tensor([[0.0, 0, 10, 4], [0, 6, 10, 10], [0, 0, 10, 1]])
    assert MaxIoUAssigner(0.7, 0.3)(twins, OBJECT).tolist() == [0, 0, NEGATIVE]
    objects = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9]])
    assert MaxIoUAssigner(0.7, 0.3)(BOXES[:1], objects).tolist() == [1]  # fits the first better, but both claim it


def test_an_object_that_meets_no_box_claims_none_even_without_a_least_overlap():
    far = torch.tensor([[90.0, 90, 95, 95]])
    assert MaxIoUAssigner(0.5, 0.4, min_pos_iou=0.0)(BOXES, far).tolist() == [NEGATIVE] * 5


def test_without_objects_or_boxes():
    assigner = MaxIoUAssigner(0.5, 0.4)
    assert assigner(BOXES, torch.zeros(0, 4)).tolist() == [NEGATIVE] * 5
    assert assigner(torch.zeros(0, 4), OBJECT).tolist() == []
    empty = torch.zeros(2, 4)
    assert assigner(empty, empty[:1]).isfinite().all()


def test_impossible_thresholds_are_refused():
    with pytest.raises(ConfigError, match="neg_iou <= pos_iou"):
        MaxIoUAssigner(pos_iou=0.3, neg_iou=0.4)


def test_a_sample_has_its_size_and_its_share_of_positive_boxes():
    assigned = torch.tensor([0] * 30 + [NEGATIVE] * 100 + [IGNORED] * 50)
    torch.manual_seed(0)
    positive, negative = RandomSampler(num=40, pos_fraction=0.25)(assigned)
    assert (len(positive), len(negative)) == (10, 30)
    assert (assigned[positive] == 0).all() and (assigned[negative] == NEGATIVE).all()
    assert len(set(positive.tolist())) == 10 and len(set(negative.tolist())) == 30
    other, _ = RandomSampler(num=40, pos_fraction=0.25)(assigned)
    assert set(other.tolist()) != set(positive.tolist())


def test_background_fills_up_what_positives_leave():
    positive, negative = RandomSampler(num=40, pos_fraction=0.5)(torch.tensor([0] * 3 + [NEGATIVE] * 100))
    assert (len(positive), len(negative)) == (3, 37)


def test_targets_of_anchors():
    matcher = AnchorMatcher(MaxIoUAssigner(0.5, 0.4), None, BoxCoder(), num_classes=7)
    inside = torch.tensor([True, True, True, True, False])
    targets = matcher(BOXES, inside, OBJECT, torch.tensor([3]))
    assert targets.labels.tolist() == [3, 3, 7, 7, 7]
    assert targets.weights.tolist() == [1, 1, 0, 1, 0]  # between the thresholds, and outside: no say
    assert targets.positive.tolist() == [0, 1] and targets.num_negative == 1
    torch.testing.assert_close(BoxCoder().decode(BOXES[:2], targets.offsets), OBJECT.expand(2, 4), atol=1e-5, rtol=0)
