"""Mixup and cutmix; values for given draws are golden cases."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clipapps.projects.ila.blending import MixupCutmix, cutmix, mixup, random_box, smoothed


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Four clips, each of one value."""
    return torch.arange(4.0).view(4, 1, 1, 1, 1).expand(4, 2, 3, 8, 10).clone(), torch.tensor([0, 1, 2, 2])


def test_targets_are_what_the_pixels_are(batch):
    """Of each clip the share of pixels with another's value is the share of the other's label."""
    clips, labels = batch
    np.random.seed(0)
    torch.manual_seed(0)
    kinds = set()
    for _ in range(30):
        blended, targets = MixupCutmix(num_classes=3, smoothing=0.0)(clips, labels)
        assert torch.allclose(targets.sum(dim=1), torch.ones(4))
        kinds.add("cutmix" if set(blended.unique().tolist()) <= {0.0, 1.0, 2.0, 3.0} else "mixup")
        value = torch.tensor([0.0, 1.0, 2.5])  # of labels, on average over the clips that have them
        assert blended.mean(dim=(1, 2, 3, 4)).sum() == pytest.approx(6, abs=1e-4)
        assert abs((targets @ value).sum() - 6) < 1e-4
    assert kinds == {"cutmix", "mixup"}


def test_a_kind_can_be_left_out(batch):
    for left_out, values in ((dict(mixup_alpha=0), {0.0, 1.0, 2.0, 3.0}), (dict(mixup_alpha=0, cutmix_alpha=0), None)):
        blended, targets = MixupCutmix(num_classes=3, **left_out)(*batch)
        assert values is None or set(blended.unique().tolist()) <= values
    assert (blended == batch[0]).all()
    assert torch.allclose(targets, smoothed(batch[1], 3, 0.1))


def test_cutmix_uses_the_same_box_in_all_frames_and_leaves_its_input_alone(batch):
    clips, labels = batch
    before = clips.clone()
    blended, targets = cutmix(clips, smoothed(labels, 3, 0.0), torch.tensor([3, 2, 1, 0]), (1, 2, 6, 8))
    assert (clips == before).all()
    assert (blended[0, :, :, 2:8, 1:6] == 3).all()
    assert blended[0].sum() == 2 * 3 * 30 * 3
    assert targets[0].tolist() == pytest.approx([1 - 30 / 80, 0, 30 / 80])


def test_mixup(batch):
    clips, labels = batch
    blended, targets = mixup(clips, smoothed(labels, 3, 0.0), torch.tensor([1, 0, 3, 2]), 0.25)
    assert (blended[0] == 0.75).all()
    assert targets[0].tolist() == [0.25, 0.75, 0]


def test_boxes_lie_in_the_picture():
    np.random.seed(0)
    for weight in np.linspace(0, 1, 50):
        left, top, right, bottom = random_box(20, 30, weight)
        assert 0 <= left <= right <= 30
        assert 0 <= top <= bottom <= 20
        assert (right - left) * (bottom - top) <= (1 - weight) * 600 + 1e-6
