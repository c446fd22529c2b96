"""Offsets and back."""

from __future__ import annotations

import math

import pytest
import torch

from clipapps.projects.denseclip.detection.box_coder import MAX_LOG_SIDE, BoxCoder, clip_boxes


def boxes(count: int, seed: int) -> torch.Tensor:
    corners = 100 * torch.rand(count, 2, generator=torch.Generator().manual_seed(seed))
    return torch.cat([corners, corners + 1 + 60 * torch.rand(count, 2)], dim=1)


@pytest.mark.parametrize("stds", [(1.0, 1.0, 1.0, 1.0), (0.1, 0.1, 0.2, 0.2)])
def test_decoding_undoes_encoding(stds):
    coder, references, wanted = BoxCoder(stds), boxes(50, 0), boxes(50, 1)
    torch.testing.assert_close(coder.decode(references, coder.encode(references, wanted)), wanted, atol=1e-3, rtol=1e-4)


def test_offsets_of_a_hand_case():
    offsets = BoxCoder((0.1, 0.1, 0.2, 0.2)).encode(torch.tensor([[0.0, 0, 10, 20]]), torch.tensor([[5.0, 0, 25, 20]]))
    assert offsets[0].tolist() == pytest.approx([10 / 10 / 0.1, 0.0, math.log(2) / 0.2, 0.0])


def test_sides_grow_and_shrink_by_a_limited_factor():
    reference = torch.tensor([[0.0, 0, 16, 16]])
    for offset, factor in ((50.0, 62.5), (-50.0, 1 / 62.5)):
        box = BoxCoder().decode(reference, torch.tensor([[0.0, 0, offset, offset]]))
        assert (box[0, 2] - box[0, 0]).item() == pytest.approx(16 * factor, rel=1e-5)
    assert pytest.approx(4.135, abs=1e-3) == MAX_LOG_SIDE


def test_one_box_a_class_and_cutting_to_the_picture():
    coder, references = BoxCoder(), boxes(4, 2)
    offsets = torch.randn(4, 3, 4, generator=torch.Generator().manual_seed(3))
    together = coder.decode(references, offsets, picture=(50, 80))
    for index in range(3):
        torch.testing.assert_close(together[:, index], coder.decode(references, offsets[:, index], picture=(50, 80)))
    assert together[..., 0::2].max() <= 80 and together[..., 1::2].max() <= 50 and together.min() >= 0
    assert clip_boxes(torch.tensor([[-3.0, -2, 90, 70]]), (50, 80)).tolist() == [[0, 0, 80, 50]]
