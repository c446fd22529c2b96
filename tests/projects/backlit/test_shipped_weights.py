"""What a user gets without training: shade is lifted, well-lit photos stay, nothing is cut off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import clipapps
from clipapps.project import get_project
from clipapps.projects.backlit.metrics import quality
from clipapps.projects.backlit.paired import SyntheticTestPairs

# measured: 4.6 dB, over these pairs and over the twenty of the recipe
MARGIN = 2.3


@pytest.fixture(scope="module")
def enhance():
    return clipapps.load("backlit", device="cpu")


@pytest.fixture(scope="module")
def pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    found = SyntheticTestPairs(draws=2, longest_side=128)
    return [(backlit, target) for _, backlit, target in map(found.read_pair, range(len(found))) if target is not None]


def test_the_file_is_small():
    file = get_project("backlit").shipped_weights()
    assert file is not None
    assert Path(file).stat().st_size < 1.2e6


def test_held_out_photos_in_synthetic_shade_come_nearer_to_themselves(enhance, pairs):
    gains = [quality(enhance(backlit)[0].enhanced, target)[0] - quality(backlit, target)[0]
             for backlit, target in pairs]
    assert np.mean(gains) > MARGIN


def test_nothing_is_cut_off_and_shadows_are_lifted(enhance, pairs):
    for backlit, _ in pairs:
        result = enhance(backlit)[0]
        assert ((result.enhanced == 255) & (backlit < 255)).mean() < 0.04
        assert 0.1 < result.light_map.min() and result.light_map.max() < 1.3
        shade = backlit.mean(axis=2) < 64
        assert result.enhanced[shade].mean() > 1.2 * backlit[shade].mean()


def test_a_bright_photo_stays_nearly_as_it_is(enhance):
    rows, columns = np.mgrid[0:64, 0:96]
    bright = np.stack([170 + rows // 2, 160 + columns // 2, 190 + rows // 4], axis=2).astype(np.uint8)
    result = enhance(bright)[0]
    assert np.abs(result.enhanced.astype(int) - bright).mean() < 12
