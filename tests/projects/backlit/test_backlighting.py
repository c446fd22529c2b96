"""Synthetic backlighting: what falls into shade, by how much, and what undoes it."""

from __future__ import annotations

import numpy as np
import pytest

from clipapps.projects.backlit.backlighting import (
    MASKS,
    BacklightingRanges,
    backlight,
    shade_mask,
    to_linear,
    to_srgb,
)

STILL = BacklightingRanges(untouched=0.0, noise=(-9.0, -9.0), jpeg=0.0, common_stops=(0.0, 0.0))


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    rows, columns = np.indices((60, 80))
    image = np.stack([120 + rows, 90 + columns, 200 - rows], axis=2)
    for number in range(12):  # regions that a segmentation finds
        row, column = divmod(number, 4)
        image[20 * row:20 * row + 17, 20 * column:20 * column + 17] += np.array([number * 7, -5 * number, 60])
    return image.astype(np.uint8)


def test_encoding_and_decoding_undo_each_other():
    values = np.linspace(0, 1, 256)
    assert np.abs(to_srgb(to_linear(values)) - values).max() < 1e-6
    assert to_linear(np.array(0.5)) == pytest.approx(0.21404, abs=1e-5)


@pytest.mark.parametrize("kind", MASKS)
def test_masks_hold_light_and_shade(photo: np.ndarray, kind: str):
    masks = [shade_mask(photo, np.random.default_rng(seed), kind) for seed in range(8)]
    assert all(mask.shape == (60, 80) and 0 <= mask.min() and mask.max() <= 1.0001 for mask in masks)
    shares = [float(mask.mean()) for mask in masks]
    assert 0.1 < np.mean(shares) < 0.9
    assert np.std(shares) > 0.02


def test_dividing_by_the_light_map_gives_the_target(photo: np.ndarray):
    for seed in range(6):
        pair = backlight(photo, np.random.default_rng(seed), STILL)
        restored = np.clip(pair.backlit / pair.light_map[..., None], 0, 255)
        off = np.abs(restored - pair.target).mean(axis=2)
        assert np.median(off) < 8  # one map for three channels: the sRGB curve is no power law in the dark
        assert pair.backlit.mean() < pair.target.mean() <= photo.mean()
        assert 0 < pair.light_map.min() and pair.light_map.max() < 1.01


def test_full_recovery_aims_at_the_photo_itself(photo: np.ndarray):
    pair = backlight(photo, np.random.default_rng(1), BacklightingRanges(untouched=0.0, recovery=1.0))
    assert np.abs(pair.target.astype(int) - photo).max() <= 1


def test_stops_are_powers_of_two_of_light():
    gray = np.full((40, 40, 3), 200, dtype=np.uint8)
    ranges = BacklightingRanges(untouched=0.0, noise=(-9.0, -9.0), jpeg=0.0, common_stops=(1.0, 1.0),
                                shade_stops=(0.0, 0.0))
    pair = backlight(gray, np.random.default_rng(0), ranges)
    assert to_linear(pair.backlit / 255).mean() == pytest.approx(to_linear(np.array(200 / 255)) / 2, rel=0.01)


def test_untouched_photos_stay(photo: np.ndarray):
    pair = backlight(photo, np.random.default_rng(0), BacklightingRanges(untouched=1.0))
    assert np.array_equal(pair.backlit, photo) and np.array_equal(pair.target, photo) and (pair.light_map == 1).all()


def test_a_seed_is_a_pair(photo: np.ndarray):
    first, second, other = (backlight(photo, np.random.default_rng(seed), STILL) for seed in (3, 3, 4))
    assert np.array_equal(first.backlit, second.backlit)
    assert not np.array_equal(first.backlit, other.backlit)
