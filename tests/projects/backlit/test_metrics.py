"""Quality figures: known values, and what happens without targets."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clipapps.errors import ConfigError
from clipapps.projects.backlit.metrics import BacklitQuality, luminance, quality


def test_a_constant_error_has_the_psnr_of_its_size():
    image = np.full((16, 16, 3), 100, np.uint8)
    assert quality(image, image) == (100.0, pytest.approx(1.0))
    assert quality(image + np.uint8(10), image)[0] == pytest.approx(20 * np.log10(25.5))


def test_luminance_weighs_the_channels():
    image = np.zeros((4, 4, 3), np.uint8)
    image[..., 1] = 255
    assert luminance(image) == pytest.approx(0.587)


def test_figures_of_photos_with_and_without_targets():
    metric = BacklitQuality()
    dark, bright = torch.full((3, 8, 8), 50, dtype=torch.uint8), torch.full((3, 8, 8), 255, dtype=torch.uint8)
    metric.process({}, [dict(inputs=dark, enhanced=bright, target=bright), dict(inputs=bright, enhanced=bright)])
    found = metric.evaluate(2)
    assert found["PSNR"] == 100.0 and found["input_PSNR"] < 3
    assert found["clipped"] == 0.5  # what was white before does not count
    assert found["luminance"] == pytest.approx(1.0)


def test_an_unknown_protocol_is_refused():
    with pytest.raises(ConfigError, match="standard or rave"):
        quality(np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8), "other")
