"""Tiled light maps equal whole ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clipapps.errors import UserError
from clipapps.projects.backlit import tiling
from clipapps.projects.backlit.network import EnhancementNetwork
from clipapps.projects.backlit.tiling import tiled_light_map, tiles


@pytest.fixture
def network() -> EnhancementNetwork:
    torch.manual_seed(0)
    network = EnhancementNetwork(start_bias=1.0)
    for parameter in network.parameters():  # strong enough that pooling and borders matter
        if parameter.ndim == 4:
            parameter.data.mul_(3.0)
    return network


@pytest.mark.parametrize("padding", ["reflect", "zeros"])
@pytest.mark.parametrize(("size", "tile"), [((50, 71), 16), ((33, 9), 8), ((64, 64), 32), ((5, 90), 40), ((2, 40), 8),
                                            ((40, 1), 8)])
def test_equal_to_the_whole_map(network, padding: str, size: tuple[int, int], tile: int):
    network.padding_mode = padding
    photo = torch.rand(2, 3, *size)
    with torch.no_grad():
        whole = network(photo)
    assert whole.std() > 1e-3 or size == (40, 1)
    assert (tiled_light_map(network, photo, tile=tile) - whole).abs().max() <= 1e-5


def test_features_that_are_not_kept_are_computed_again(network, monkeypatch: pytest.MonkeyPatch):
    photo = torch.rand(1, 3, 70, 45)
    kept = tiled_light_map(network, photo, tile=24)
    monkeypatch.setattr(tiling, "KEPT_PIXELS", 0)
    assert (tiled_light_map(network, photo, tile=24) - kept).abs().max() <= 1e-5
    with torch.no_grad():
        assert (kept - network(photo)).abs().max() <= 1e-5


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535)])
def test_pixels_as_files_store_them(network, dtype: type, white: int):
    stored = torch.from_numpy(np.random.default_rng(0).integers(0, white, (1, 3, 20, 30), dtype=dtype))
    expected = tiled_light_map(network, stored.float() / white, tile=16)
    assert torch.equal(tiled_light_map(network, stored, tile=16), expected)


def test_tiles_cover_every_pixel_once():
    count = torch.zeros(1, 1, 37, 53, dtype=torch.int)
    for part in tiles(37, 53, 16):
        part.of(count).add_(1)
    assert (count == 1).all()


def test_progress_grows_to_one(network):
    shares: list[float] = []
    tiled_light_map(network, torch.rand(1, 3, 20, 30), tile=10, progress=shares.append)
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1.0) and len(shares) == 12


def test_tiles_that_are_too_small_are_refused(network):
    with pytest.raises(UserError, match="at least 8"):
        tiled_light_map(network, torch.rand(1, 3, 20, 30), tile=4)
