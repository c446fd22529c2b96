"""Losses: what their parts mean, beyond the golden cases."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from clipapps.errors import ConfigError
from clipapps.projects.backlit import losses


def test_scores_are_high_for_images_near_the_negative_vector():
    pair = torch.eye(2, 4)
    scores = losses.backlit_scores(torch.eye(2, 4), pair)
    assert scores[0] > 0.99 > 0.01 > scores[1]


def test_sum_and_mean_agree_at_the_published_batch_and_the_mean_does_not_depend_on_it():
    ours, theirs = [torch.rand(8, 2, 3, 3)], [torch.rand(8, 2, 3, 3)]
    total = losses.identity_loss(ours, theirs, [1.0], "sum")
    assert torch.allclose(total, losses.identity_loss(ours, theirs, [1.0], "mean"))
    twice = [torch.cat([ours[0]] * 2)], [torch.cat([theirs[0]] * 2)]
    assert torch.allclose(total, losses.identity_loss(*twice, [1.0], "mean"))
    assert torch.allclose(2 * total, losses.identity_loss(*twice, [1.0], "sum"))


def test_as_many_weights_as_levels():
    with pytest.raises(ConfigError, match="1 levels, and there are 2 stage weights"):
        losses.identity_loss([torch.rand(1, 2, 3, 3)], [torch.rand(1, 2, 3, 3)], [1, 1])


def test_a_perfect_ranking_costs_what_the_margins_leave():
    scores = [torch.full((3,), value) for value in (1.0, 0.1, 0.0)]
    assert losses.rank_loss(scores, (0.9, 0.1)).item() == pytest.approx(0.0, abs=1e-6)
    assert losses.rank_loss(scores[::-1], (0.9, 0.1)).item() == pytest.approx(1.9 + 1.0 + 1.0)


def test_residual_guidance_is_zero_at_the_threshold():
    direction = F.normalize(torch.ones(4), dim=0)
    assert losses.residual_guidance_loss(direction[None] * 0.3, direction, torch.tensor(0.3)).item() < 1e-12


def test_psnr_of_luma():
    images = torch.zeros(1, 3, 4, 4)
    assert losses.luma_psnr(images + 0.1, images).item() == pytest.approx(20.0, abs=1e-3)
