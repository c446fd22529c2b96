"""The light map of a photo of any size in bounded memory, exactly: two passes over tiles.

The pyramid pooling sees the whole photo, so tiles alone would each see only themselves. The first pass adds up the
cells of the pooling over all tiles; the second runs the rest of the network on each tile with those cells. Every tile
carries a halo as wide as wrong values can travel; each convolution takes one pixel of it away, and a photo's own
borders are padded as the network pads them.

Small tiles are also the fastest way on a CPU: what lies between two layers stays in its cache, and memory is used again
instead of being asked for anew (which took half of the time of a whole photo).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipapps.errors import UserError
from clipapps.projects.backlit.network import _SLOPE as SLOPE
from clipapps.projects.backlit.network import (
    BINS,
    HALO_AFTER_POOLING,
    HALO_BEFORE_POOLING,
    EnhancementNetwork,
    ResidualBlock,
)

HALO = HALO_BEFORE_POOLING + HALO_AFTER_POOLING
MIN_TILE = 8
#: 64 channels of it take 17 MB, which a large cache holds; a GPU wants more work at once
CPU_TILE, GPU_TILE = 256, 1024
#: photos up to this size keep the features between the passes (128 bytes a pixel) instead of computing them twice
KEPT_PIXELS = 2_000_000
_LEAST_SIDE = 2  # of a photo that can be reflected
_DIVISORS = {torch.uint8: 255.0, torch.uint16: 65535.0}
Edges = tuple[bool, bool, bool, bool]


@dataclass(frozen=True)
class Tile:
    """A rectangle of the photo in pixels: [top, bottom) x [left, right)."""

    top: int
    bottom: int
    left: int
    right: int

    def widened(self, halo: int, height: int, width: int) -> Tile:
        """With a halo on every side, as far as the photo reaches."""
        return Tile(max(0, self.top - halo), min(height, self.bottom + halo), max(0, self.left - halo),
                    min(width, self.right + halo))

    def narrowed(self, halo: int, edges: Edges) -> Tile:
        """Without a halo on every side that is no edge of the photo."""
        top, bottom, left, right = (0 if is_edge else halo for is_edge in edges)
        return Tile(self.top + top, self.bottom - bottom, self.left + left, self.right - right)

    def edges(self, height: int, width: int) -> Edges:
        """Which of its sides lie on the photo's: top, bottom, left, right."""
        return self.top == 0, self.bottom == height, self.left == 0, self.right == width

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


@torch.inference_mode()
def tiled_light_map(network: EnhancementNetwork, images: Tensor, tile: int | None = None,
                    progress: Callable[[float], None] | None = None) -> Tensor:
    """The network's light map of (B, 3, H, W), equal to `network(images)` but for rounding.

    Args:
        network: on the device where tiles are computed.
        images: float in 0..1, or uint8 or uint16 as files store them; on any device, where the map is returned.
        tile: side of the tiles in pixels, without halo; None: what is fast on the network's device.
        progress: called with the share done, 0..1.

    Raises:
        UserError: tiles smaller than 8 pixels.

    >>> network, photo = EnhancementNetwork(start_bias=1.0), torch.rand(1, 3, 50, 70)
    >>> bool((tiled_light_map(network, photo, tile=16) - network(photo)).abs().max() < 1e-5)
    True
    """
    device = network.cond1.weight.device
    tile = tile or (CPU_TILE if device.type == "cpu" else GPU_TILE)
    if tile < MIN_TILE:
        raise UserError(f"Tiles are at least {MIN_TILE} pixels wide, not {tile}.")
    if min(images.shape[2:]) < _LEAST_SIDE:
        return network(_as_input(images, network)).to(images.device)
    return _TwoPasses(network, images, tile, progress or (lambda share: None)).light_map()


class _TwoPasses:
    """The two passes over one batch of photos."""

    def __init__(self, network: EnhancementNetwork, images: Tensor, tile: int,
                 progress: Callable[[float], None]) -> None:
        self.network, self.images, self.progress = network, images, progress
        self.batch, _, self.height, self.width = images.shape
        self.parts = list(tiles(self.height, self.width, tile))
        keeps = self.batch * self.height * self.width <= KEPT_PIXELS
        self.kept = network.cond1.weight.new_empty(self.batch, 32, self.height, self.width).to(
            memory_format=torch.channels_last) if keeps else None

    def light_map(self) -> Tensor:
        """(B, 1, H, W) float32 on the images' device."""
        cells = self._pooled_cells()
        light_map = torch.empty(self.batch, 1, self.height, self.width, device=self.images.device)
        for number, part in enumerate(self.parts, start=1):
            part.of(light_map).copy_(self._map_of(part, cells))
            self.progress(0.3 + 0.7 * number / len(self.parts))
        return light_map

    def _features(self, part: Tile) -> Tensor:
        """Features in front of the pooling of exactly this part."""
        outer = part.widened(HALO_BEFORE_POOLING, self.height, self.width)
        edges = outer.edges(self.height, self.width)
        x = _as_input(outer.of(self.images), self.network)
        x = F.leaky_relu_(_convolve(self.network.cond1, x, edges), SLOPE)
        x = _residual(self.network.ResidualBlock2, _residual(self.network.ResidualBlock1, x, edges), edges)
        return part.inside(outer.narrowed(HALO_BEFORE_POOLING, edges)).of(x)

    def _pooled_cells(self) -> list[Tensor]:
        """The four small maps (B, 8, b, b) of the pooling, from sums over tiles in double precision."""
        sums = [torch.zeros(())] * len(BINS)
        for number, part in enumerate(self.parts, start=1):
            x = self._features(part)
            if self.kept is not None:
                part.of(self.kept).copy_(x)
            for level, bins in enumerate(BINS):
                rows = _membership(self.height, bins, part.top, part.bottom).to(x)
                columns = _membership(self.width, bins, part.left, part.right).to(x.device)
                found = torch.einsum("bciw,jw->bcij", _weighted_rows(rows, x).double(), columns)
                sums[level] = sums[level].to(found) + found
            self.progress(0.3 * number / len(self.parts))
        cells = []
        for level, bins in enumerate(BINS):
            area = torch.outer(*(_membership(side, bins, 0, side).sum(dim=1) for side in (self.height, self.width)))
            means = sums[level] / area.to(sums[level].device)
            _, project, activation = self.network.PPM1.features[level]
            cells.append(activation(project(means.to(self.network.cond1.weight.dtype))))
        return cells

    def _map_of(self, part: Tile, cells: list[Tensor]) -> Tensor:
        """The light map of exactly this part."""
        outer = part.widened(HALO_AFTER_POOLING, self.height, self.width)
        edges = outer.edges(self.height, self.width)
        features = self._features(outer) if self.kept is None else outer.of(self.kept)
        x = torch.cat([features, *(self._upsampled(level, outer) for level in cells)], dim=1)
        network = self.network
        x = network.PPM1.fuse[1](_convolve(network.PPM1.fuse[0], x, edges))
        x = _convolve(network.condx, x, edges)
        x = _residual(network.ResidualBlock4, _residual(network.ResidualBlock3, x, edges), edges)
        x = _convolve(network.condy, x, edges)
        x = _residual(network.ResidualBlock6, _residual(network.ResidualBlock5, x, edges), edges)
        light_map = F.relu_(_convolve(network.cond_add1, x, edges))
        return part.inside(outer.narrowed(HALO_AFTER_POOLING, edges)).of(light_map)

    def _upsampled(self, cells: Tensor, part: Tile) -> Tensor:
        """Bilinear upsampling with aligned corners of (B, C, b, b) to the photo, only where the part is."""
        rows = _interpolation(cells.shape[2], self.height, part.top, part.bottom).to(cells)
        columns = _interpolation(cells.shape[3], self.width, part.left, part.right).to(cells)
        wide = torch.einsum("bcij,wj->bciw", cells, columns).contiguous(memory_format=torch.channels_last)
        return _weighted_rows(rows, wide)


def _as_input(images: Tensor, network: EnhancementNetwork) -> Tensor:
    """Pixels as the network takes them: on its device, in its precision, 0..1, the three colors of a pixel together."""
    weight = network.cond1.weight
    x = images.to(weight.device).to(torch.float32) / _DIVISORS.get(images.dtype, 1.0)
    return x.to(weight.dtype).contiguous(memory_format=torch.channels_last)


def _convolve(convolution: nn.Conv2d, x: Tensor, edges: Edges) -> Tensor:
    """A 3 x 3 convolution that pads at the photo's edges, in its own way, and takes a pixel away at the other sides."""
    if all(edges) and convolution.padding_mode == "zeros":
        return F.conv2d(x, convolution.weight, convolution.bias, padding=1)
    if any(edges):
        top, bottom, left, right = map(int, edges)
        mode = "constant" if convolution.padding_mode == "zeros" else convolution.padding_mode
        x = F.pad(x, (left, right, top, bottom), mode=mode)
    return F.conv2d(x, convolution.weight, convolution.bias)


def _residual(block: ResidualBlock, x: Tensor, edges: Edges) -> Tensor:
    """A residual block; two pixels are gone at the sides that are no edges."""
    inner = _convolve(block.conv2, F.leaky_relu_(_convolve(block.conv1, x, edges), SLOPE), edges)
    whole = Tile(0, x.shape[2], 0, x.shape[3])
    return F.leaky_relu_(inner.add_(whole.narrowed(2, edges).of(x)), SLOPE)


def _weighted_rows(weights: Tensor, x: Tensor) -> Tensor:
    """(N, H) times (B, C, H, W) in channels-last memory -> (B, C, N, W) in the same."""
    batch, channels, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(batch, height, width * channels)
    return (weights @ rows).view(batch, -1, width, channels).permute(0, 3, 1, 2)


def _membership(length: int, bins: int, start: int, stop: int) -> Tensor:
    """(bins, stop - start) of 0 and 1: which of the pixels start..stop-1 lie in which cell; cells may overlap."""
    index, cell = torch.arange(start, stop), torch.arange(bins)
    first, end = cell * length // bins, -(-(cell + 1) * length // bins)
    return ((index >= first[:, None]) & (index < end[:, None])).double()


def _interpolation(bins: int, length: int, start: int, stop: int) -> Tensor:
    """(stop - start, bins): weights of the cells at pixels start..stop-1 of a side with `length` pixels."""
    at = torch.arange(start, stop, dtype=torch.float64) * ((bins - 1) / (length - 1))
    low = at.floor().long().clamp(max=max(bins - 2, 0))
    share = at - low
    weights = F.one_hot(low, bins).double() * (1 - share)[:, None]
    return weights + F.one_hot((low + 1).clamp(max=bins - 1), bins).double() * share[:, None]
