"""The light map of a photo of any size in bounded memory, exactly: two passes over tiles.

The pyramid pooling sees the whole photo, so tiles alone would each see only themselves. The first pass adds up the
cells of the pooling over all tiles; the second runs the rest of the network on each tile with those cells. Every tile
carries a halo as wide as wrong values can travel, which is cut off again, and a photo's own borders are padded as the
network pads them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from clipapps.errors import UserError
from clipapps.projects.backlit.network import BINS, HALO_AFTER_POOLING, HALO_BEFORE_POOLING, EnhancementNetwork

HALO = HALO_BEFORE_POOLING + HALO_AFTER_POOLING
MIN_TILE = 8
#: the pooling divides a side into at most six cells, which tiles below this size would only complicate
_LEAST_SIDE = 2


@dataclass(frozen=True)
class Tile:
    """A tile and its halo, in pixels of the photo: [top, bottom) x [left, right)."""

    top: int
    bottom: int
    left: int
    right: int

    def widened(self, halo: int, height: int, width: int) -> Tile:
        """With a halo on every side, as far as the photo reaches."""
        return Tile(max(0, self.top - halo), min(height, self.bottom + halo), max(0, self.left - halo),
                    min(width, self.right + halo))

    def of(self, images: Tensor) -> Tensor:
        """This part of (B, C, H, W)."""
        return images[:, :, self.top:self.bottom, self.left:self.right]

    def inside(self, outer: Tile) -> Tile:
        """This tile in the coordinates of a wider one."""
        return Tile(self.top - outer.top, self.bottom - outer.top, self.left - outer.left, self.right - outer.left)


def tiles(height: int, width: int, size: int) -> Iterator[Tile]:
    """Tiles of at most size x size pixels that cover a photo, row by row."""
    for top in range(0, height, size):
        for left in range(0, width, size):
            yield Tile(top, min(top + size, height), left, min(left + size, width))


@torch.no_grad()
def tiled_light_map(network: EnhancementNetwork, images: Tensor, tile: int = 512,
                    progress: Callable[[float], None] | None = None) -> Tensor:
    """The network's light map of (B, 3, H, W) in 0..1, equal to `network(images)` but for rounding.

    Args:
        network: on the device where tiles are computed; images: on any device, where the map is returned.
        tile: side of the tiles in pixels, without halo; memory grows with its square only.
        progress: called with the share done, 0..1.

    Raises:
        UserError: tiles smaller than 8 pixels.

    >>> network, photo = EnhancementNetwork(start_bias=1.0), torch.rand(1, 3, 50, 70)
    >>> bool((tiled_light_map(network, photo, tile=16) - network(photo)).abs().max() < 1e-5)
    True
    """
    if tile < MIN_TILE:
        raise UserError(f"Tiles are at least {MIN_TILE} pixels wide, not {tile}.")
    height, width = images.shape[2:]
    device = network.cond1.weight.device
    if min(height, width) < _LEAST_SIDE or max(height, width) <= tile:
        return network(images.to(device)).to(images.device)
    parts = list(tiles(height, width, tile))
    cells = _pooled_cells(network, images, parts, progress)
    light_map = images.new_empty(images.shape[0], 1, height, width)
    for number, part in enumerate(parts, start=1):
        part.of(light_map).copy_(_map_of(network, images, part, cells))
        if progress is not None:
            progress(0.3 + 0.7 * number / len(parts))
    return light_map


def _features(network: EnhancementNetwork, images: Tensor, part: Tile) -> Tensor:
    """Features in front of the pooling of exactly this part, from a tile with its halo."""
    outer = part.widened(HALO_BEFORE_POOLING, *images.shape[2:])
    x = outer.of(images).to(network.cond1.weight.device)
    return part.inside(outer).of(network.before_pooling(x))


def _pooled_cells(network: EnhancementNetwork, images: Tensor, parts: list[Tile],
                  progress: Callable[[float], None] | None) -> list[Tensor]:
    """The four small maps (B, 8, b, b) of the pooling, from sums over tiles in double precision."""
    height, width = images.shape[2:]
    sums: list[Tensor] = []
    for number, part in enumerate(parts, start=1):
        x = _features(network, images, part).double()
        for level, bins in enumerate(BINS):
            rows = _membership(height, bins, part.top, part.bottom).to(x)
            columns = _membership(width, bins, part.left, part.right).to(x)
            found = torch.einsum("ih,bchw,jw->bcij", rows, x, columns)
            if level == len(sums):
                sums.append(found)
            else:
                sums[level] += found
        if progress is not None:
            progress(0.3 * number / len(parts))
    pooled = []
    for level, bins in enumerate(BINS):
        area = torch.outer(*(_membership(side, bins, 0, side).sum(dim=1) for side in (height, width)))
        means = (sums[level] / area.to(sums[level])).to(network.cond1.weight.dtype)
        _, project, activation = network.PPM1.features[level]
        pooled.append(activation(project(means)))
    return pooled


def _membership(length: int, bins: int, start: int, stop: int) -> Tensor:
    """(bins, stop - start) of 0 and 1: which of the pixels start..stop-1 lie in which cell; cells may overlap."""
    index, cell = torch.arange(start, stop), torch.arange(bins)
    first, end = cell * length // bins, -(-(cell + 1) * length // bins)
    return ((index >= first[:, None]) & (index < end[:, None])).double()


def _map_of(network: EnhancementNetwork, images: Tensor, part: Tile, cells: list[Tensor]) -> Tensor:
    """The light map of exactly this part."""
    height, width = images.shape[2:]
    outer = part.widened(HALO_AFTER_POOLING, height, width)
    x = _features(network, images, outer)
    upsampled = [_upsampled(level, height, width, outer) for level in cells]
    light_map = network.after_pooling(network.PPM1.fuse_with(x, upsampled))
    return part.inside(outer).of(light_map).to(images.device)


def _upsampled(cells: Tensor, height: int, width: int, part: Tile) -> Tensor:
    """Bilinear upsampling with aligned corners of (B, C, b, b) to the photo, only where the part is."""
    rows = _interpolation(cells.shape[2], height, part.top, part.bottom).to(cells)
    columns = _interpolation(cells.shape[3], width, part.left, part.right).to(cells)
    return torch.einsum("hi,bcij,wj->bchw", rows, cells, columns)


def _interpolation(bins: int, length: int, start: int, stop: int) -> Tensor:
    """(stop - start, bins): weights of the cells at pixels start..stop-1 of a side with `length` pixels."""
    at = torch.arange(start, stop, dtype=torch.float64) * ((bins - 1) / (length - 1))
    low = at.floor().long().clamp(max=max(bins - 2, 0))
    share = at - low
    weights = F.one_hot(low, bins).double() * (1 - share)[:, None]
    return weights + F.one_hot((low + 1).clamp(max=bins - 1), bins).double() * share[:, None]
