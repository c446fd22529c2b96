"""Sliding windows: the published grid, averages by hand, any number of windows at once."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict

from clipapps.errors import ConfigError
from clipapps.projects.denseclip.windows import slide, window_starts


@pytest.mark.parametrize("side", [100, 512, 513, 683, 853, 854, 2048])
def test_the_published_grid(side):
    crop, stride = 512, 341
    starts = window_starts(side, crop, stride)
    assert len(starts) == max(side - crop + stride - 1, 0) // stride + 1
    assert starts[0] == 0 and starts[-1] == max(side - crop, 0)
    assert all(0 < b - a <= stride for a, b in zip(starts, starts[1:], strict=False))


def position_dependent(windows):
    """Logits that depend on where in its window a pixel lies, so that a wrong place or count shows."""
    height, width = windows.shape[2:]
    ramp = torch.arange(height).view(-1, 1) * 10.0 + torch.arange(width)
    return torch.stack([windows.sum(dim=1) * ramp, windows[:, 0] + ramp], dim=1)


@pytest.mark.parametrize("size", [(70, 90), (64, 64), (40, 90), (40, 50)])
def test_each_pixel_is_the_mean_over_its_windows(size):
    images = torch.rand(2, 3, *size)
    total, count = torch.zeros(2, 2, *size), torch.zeros(1, 1, *size)
    for y in window_starts(size[0], 64, 40):
        for x in window_starts(size[1], 64, 40):
            window = images[:, :, y:y + 64, x:x + 64]
            h, w = window.shape[2:]
            total += F.pad(position_dependent(window), (x, size[1] - x - w, y, size[0] - y - h))
            count[..., y:y + h, x:x + w] += 1
    for at_once in (1, 3, 100):
        result = slide(position_dependent, images, (64, 64), (40, 40), at_once=at_once, accumulate_on="cpu")
        torch.testing.assert_close(result, total / count)


def test_windows_run_in_batches_of_the_given_size():
    sizes = []

    def count(windows):
        sizes.append(len(windows))
        return windows

    slide(count, torch.rand(2, 3, 100, 100), (64, 64), (36, 36), at_once=3)  # 2 images x 4 windows
    assert sizes == [3, 3, 2]


def test_the_model_takes_the_settings_from_its_test_cfg(build, monkeypatch):
    images = torch.randn(1, 3, 96, 130)
    results = []
    for at_once in (1, 6):
        model = build(test_cfg=ConfigDict(mode="slide", crop_size=(64, 64), stride=(40, 40), windows_at_once=at_once))
        with torch.no_grad():
            results.append(model.eval().inference(images, [dict(ori_shape=(96, 130), img_shape=(96, 130))]))
    torch.testing.assert_close(results[0], results[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("stride, at_once", [((0, 40), 1), ((65, 40), 1), ((40, 40), 0)])
def test_settings_that_leave_gaps_are_refused(stride, at_once):
    with pytest.raises(ConfigError, match=r"model\.test_cfg"):
        slide(position_dependent, torch.rand(1, 3, 80, 80), (64, 64), stride, at_once=at_once)
