"""Masks: reading COCO's forms, and pasting a head's small masks into a picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clipapps.errors import BadSampleError
from clipapps.projects.denseclip.detection.masks import decode_mask, encode_mask, paste_masks
from clipapps.toyworld.instances import run_lengths

MASK = np.zeros((12, 20), np.uint8)
MASK[3:9, 5:15] = 1


def test_every_form_gives_the_same_mask():
    polygon = [[5, 3, 15, 3, 15, 9, 5, 9]]
    for form in (polygon, run_lengths(MASK), encode_mask(MASK)):
        assert np.array_equal(decode_mask(form, MASK.shape), MASK)


def test_run_lengths_of_any_mask_come_back():
    generator = np.random.default_rng(0)
    for _ in range(20):
        mask = (generator.random((7, 9)) > 0.5).astype(np.uint8)
        assert np.array_equal(decode_mask(run_lengths(mask), mask.shape), mask)


@pytest.mark.parametrize("broken", [[], [[1, 2, 3]], {"size": [12, 20]}, {"counts": 3, "size": [12, 20]},
                                    {"size": [3, 3], "counts": [9]}, [["a"] * 6]])
def test_anything_else_is_one_named_error(broken):
    with pytest.raises(BadSampleError, match="segmentation"):
        decode_mask(broken, (12, 20))


def test_a_full_mask_fills_its_box_and_nothing_else():
    box = torch.tensor([[4.0, 2, 16, 9]])
    pasted = paste_masks(torch.ones(1, 28, 28), box, (12, 20))[0]
    inner = torch.zeros(12, 20, dtype=torch.bool)
    inner[2:9, 4:16] = True
    assert torch.equal(pasted, inner)


def test_a_half_mask_fills_half_and_boxes_may_leave_the_picture():
    half = torch.zeros(1, 28, 28)
    half[:, :, :14] = 1.0
    pasted = paste_masks(half, torch.tensor([[0.0, 0, 20, 12]]), (12, 20))[0]
    assert pasted[:, :10].all() and not pasted[:, 10:].any()
    outside = paste_masks(torch.ones(3, 28, 28), torch.tensor([[-8.0, -8, 4, 4], [30, 30, 40, 40], [5, 5, 5, 9]]),
                          (12, 20))
    assert outside[0, :4, :4].all() and outside[0].sum() == 16 and not outside[1:].any()


def test_pasting_equals_stretching_in_double_precision():
    """Bilinear between the centers of the small mask's pixels, zero beyond its border."""
    mask = torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(0))
    left, top, right, bottom = 2.3, 1.6, 17.9, 10.2
    padded = np.pad(mask[0].double().numpy(), 1)
    expected = np.zeros((12, 20), bool)
    for row in range(12):
        for column in range(20):
            v = (row + 0.5 - top) / (bottom - top) * 4 + 0.5
            u = (column + 0.5 - left) / (right - left) * 4 + 0.5
            if 0 <= v < 5 and 0 <= u < 5:
                i, j = int(v), int(u)
                a, b = v - i, u - j
                value = ((1 - a) * (1 - b) * padded[i, j] + (1 - a) * b * padded[i, j + 1]
                         + a * (1 - b) * padded[i + 1, j] + a * b * padded[i + 1, j + 1])
                expected[row, column] = value >= 0.5
    assert np.array_equal(paste_masks(mask, torch.tensor([[left, top, right, bottom]]), (12, 20))[0].numpy(), expected)
