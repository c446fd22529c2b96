"""Light that is averaged over time: steady where nothing moves, at once where something does."""

from __future__ import annotations

import pytest
import torch

from clipapps.projects.backlit.smoothing import LightSmoother

STEP = 1 / 25


def run(smoother: LightSmoother, maps: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    return torch.stack([smoother(light_map, frame, index * STEP)
                        for index, (light_map, frame) in enumerate(zip(maps, frames, strict=True))])


def test_noise_and_jumping_levels_nearly_vanish_where_nothing_moves():
    draw = torch.Generator().manual_seed(0)
    still = torch.rand(32, 48, generator=draw).expand(40, 32, 48)
    frames = still + 0.02 * torch.randn(still.shape, generator=draw)
    maps = (0.4 + 0.2 * still) * (1 + 0.05 * torch.randn(40, 1, 1, generator=draw))
    smoother = LightSmoother(0.5)
    smooth = run(smoother, maps, frames)
    changes = [(values[1:] / values[:-1]).log().mean(dim=(1, 2)).abs().mean() for values in (maps, smooth)]
    assert changes[1] < 0.15 * changes[0]
    assert smoother.flicker[0] == pytest.approx(float(changes[0]), rel=0.1)
    assert smoother.flicker[1] < 0.15 * smoother.flicker[0]
    assert smooth[20:].mean() == pytest.approx(float(maps.mean()), rel=0.04)


def test_what_moves_leaves_no_trail():
    frames, maps = torch.full((20, 32, 96), 0.8), torch.full((20, 32, 96), 0.9)
    for index in range(20):
        frames[index, 8:24, 4 * index:4 * index + 16] = 0.1
        maps[index, 8:24, 4 * index:4 * index + 16] = 0.3
    smooth = run(LightSmoother(0.5), maps, frames)
    off = (smooth - maps).abs()
    assert off.mean() < 0.01 and off[:, 8:24].max() < 0.1  # a plain average is off by 0.5


def test_a_cut_begins_anew():
    frames = torch.cat([torch.full((5, 16, 16), 0.1), torch.full((5, 16, 16), 0.8)])
    maps = torch.cat([torch.full((5, 16, 16), 0.3), torch.full((5, 16, 16), 0.9)])
    smoother = LightSmoother(10.0)
    assert torch.allclose(run(smoother, maps, frames), maps, atol=1e-6) and smoother.cuts == 1


def test_zero_seconds_change_nothing():
    maps, frames = torch.rand(6, 16, 20) + 0.1, torch.full((6, 16, 20), 0.5)
    assert torch.allclose(run(LightSmoother(0.0), maps, frames), maps, atol=1e-6)


def test_the_average_reaches_63_percent_after_its_time():
    maps, frames = torch.full((26, 16, 16), 0.5), torch.full((26, 16, 16), 0.5)
    maps[0] = 0.25
    smooth = run(LightSmoother(1.0), maps, frames)
    distance = (maps[-1] / smooth[-1]).log().mean() / torch.log(torch.tensor(2.0))
    assert distance < torch.exp(torch.tensor(-1.0)) + 0.01
