"""Pictures in memory: every kind gives the same pixels, and what is no picture is explained."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from clipapps.data.arrays import as_images
from clipapps.errors import UserError

PIXELS = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
TENSOR = torch.from_numpy(PIXELS).permute(0, 3, 1, 2)


@pytest.mark.parametrize("value", [PIXELS, TENSOR, TENSOR.float() / 255, (TENSOR.double() / 255).requires_grad_()])
def test_arrays_and_tensors_hold_the_same_pictures(value) -> None:
    assert np.array_equal(np.stack(as_images(value)), PIXELS)
    assert np.array_equal(as_images(value[0])[0], PIXELS[0])


def test_a_pillow_image_is_turned_upright() -> None:
    image = Image.fromarray(PIXELS[0])
    image.getexif()[0x0112] = 6  # shown after a quarter turn
    assert np.array_equal(as_images(image)[0], np.rot90(PIXELS[0], -1))


@pytest.mark.parametrize(("value", "words"), [
    (np.zeros((4, 4), np.uint8), r"shape \(4, 4\) and type uint8; expected"),
    (np.zeros((4, 4, 3), np.float32), "type float32"),
    (np.zeros((0, 4, 3), np.uint8), r"shape \(0, 4, 3\)"),
    (torch.zeros(4, 4), r"shape \(4, 4\)"),
    (torch.zeros(4, 4, 3), r"shape \(4, 4, 3\)"),
    (torch.full((3, 4, 4), 200.0), "values from 200 to 200; expected 0 to 1"),
    (torch.full((3, 4, 4), float("nan")), "values from nan"),
    (object(), "type object")])
def test_what_is_no_picture_is_explained(value, words) -> None:
    with pytest.raises(UserError, match=words):
        as_images(value)
