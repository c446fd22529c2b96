"""Implicit learnable alignment (arXiv 2304.10465): the method, top to bottom.

In front of every CLIP block, which itself stays as it is:

    z = message_ln(message_fc(x))                       all tokens, the class token among them
    f = interactive block(frame t | frame t + 1)        convolutions over each pair of neighbors
    points = 0.75 * tanh(prediction block(f))           one interactive point for each frame of the pair
    masks around the points                             what the two frames have in common
    x = x + temporal_skip_align_fc(masked z) + temporal_skip_fc(features of the interaction)

Training also pulls the masked sums of the two frames of each pair together (`losses.pair_distance`).

Letters: B clips, T frames, H x W grid, L = 1 + HW tokens, D tower width, C alignment channels, h = C / 2.
Frame t of clip b is row b * T + t. A point is (x, y): columns first, from -1 (left, top) to 1.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipapps.clip.blocks import Insertion
from clipapps.clip.text_cache import VersionedCache
from clipapps.errors import UserError
from clipapps.projects.ila.losses import pair_distance

VARIANTS = ("k400", "ssv2")
PLATEAU, SLOPE = 0.25, 1.5  # half width of a mask's flat top, and how steeply it falls, in units of half the image
REACH = 0.75  # points stay inside this
SMALLEST_GRID = 4  # two poolings by 2 must leave something


def axis_mask(centers: Tensor, size: int, disturbance: float = 0.0) -> Tensor:
    """Soft windows around centers (...) in -1..1 along an axis of `size` cells -> (..., size), float32.

    Args:
        disturbance: the mean of three windows, shifted by -disturbance, 0 and disturbance, is returned when not 0.
    """
    shifts = centers.new_tensor([-disturbance, 0.0, disturbance] if disturbance else [0.0], dtype=torch.float32)
    # Not linspace, whose rounding errors decide on which side of the plateau's edge a cell lies.
    cells = 2 * torch.arange(size, device=centers.device) / (size - 1) - 1
    distance = (cells - (centers.float()[..., None] + shifts)[..., None]).abs()  # (..., shifts, size)
    return F.relu(1 - SLOPE * F.relu(distance - PLATEAU)).mean(dim=-2)


def point_mask(points: Tensor, grid: tuple[int, int], disturbance: float = 0.0) -> Tensor:
    """Soft rectangles around points (..., 2) on a grid (H, W) -> (..., H, W) in 0..1, float32 (section 3.2).

    With a disturbance d the mean over the nine offsets {-d, 0, d} x {-d, 0, d}: a mask is the product of two windows,
    and so is that mean.

    >>> point_mask(torch.tensor([0.0, -0.75]), (3, 3))  # the middle column, the upper rows
    tensor([[0.0000, 1.0000, 0.0000],
            [0.0000, 0.2500, 0.0000],
            [0.0000, 0.0000, 0.0000]])
    """
    columns = axis_mask(points[..., 0], grid[1], disturbance)
    rows = axis_mask(points[..., 1], grid[0], disturbance)
    return rows[..., :, None] * columns[..., None, :]


def between_frames(as_first: Tensor, as_second: Tensor, dim: int) -> Tensor:
    """What pairs say about frames: (..., T - 1, ...) twice -> (..., T, ...) along `dim`.

    Frame t is the first of pair t and the second of pair t - 1; the ends are in one pair, all others in two, whose
    mean counts.
    """
    inner = as_first.shape[dim] - 1
    middle = (as_first.narrow(dim, 1, inner) + as_second.narrow(dim, 0, inner)) / 2
    return torch.cat([as_first.narrow(dim, 0, 1), middle, as_second.narrow(dim, inner, 1)], dim=dim)


class Aligned(NamedTuple):
    """What `Alignment` found in B clips.

    Args:
        points: (B, T - 1, 4): x, y in the first frame of each pair, x, y in the second; in -0.75..0.75.
        mask_pre, mask_cur: masks around them, (B, T - 1, H, W).
        pair_features: output of the interactive block, (B (T - 1), C, H, W).
        interaction: temporal features (B, T, H, W, h), in front of the module's last projection.
    """

    points: Tensor
    mask_pre: Tensor
    mask_cur: Tensor
    pair_features: Tensor
    interaction: Tensor

    @property
    def frame_mask(self) -> Tensor:
        """The mask of each frame, (B, T, H, W)."""
        return between_frames(self.mask_pre, self.mask_cur, dim=1)


class Alignment(nn.Module):
    """Interactive points, masks and interaction features of neighboring frames (section 3.2).

    Parameter names are those of the released checkpoints.

    Args:
        width: tower width D.
        channels: C, a multiple of 8.
        variant: "k400" (depthwise separable convolutions) or "ssv2" (dense ones).

    Attributes:
        disturbance: offset of the extra points while training, in units of half the image; see `hooks.OffsetDecay`.

    >>> aligned = Alignment(width=16, channels=32)(torch.rand(2, 4, 6, 5, 16))
    >>> aligned.points.shape, aligned.frame_mask.shape, aligned.interaction.shape
    (torch.Size([2, 3, 4]), torch.Size([2, 4, 6, 5]), torch.Size([2, 4, 6, 5, 16]))
    """

    def __init__(self, width: int, channels: int = 256, variant: str = "k400", disturbance: float = 0.2) -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise UserError(f"The alignment variant is one of {', '.join(VARIANTS)}, not {variant!r}.")
        if channels % 8:
            raise UserError(f"The alignment's channels are a multiple of 8, not {channels}.")
        half = channels // 2
        self.disturbance = disturbance
        self.interactive_block = _interactive_block(2 * width, channels, variant)
        self.prediction_block = nn.Sequential(
            nn.Conv2d(channels, half, 3, padding=1), nn.BatchNorm2d(half), nn.MaxPool2d(2), nn.ReLU(),
            nn.Conv2d(half, half, 3, padding=1), nn.BatchNorm2d(half), nn.MaxPool2d(2), nn.ReLU(),
            nn.AdaptiveMaxPool2d(1), nn.Flatten(2),
            # two groups: the first point sees one half of the channels, the second point the other
            nn.Conv1d(half, half // 2, 1, groups=2), nn.ReLU(), nn.Conv1d(half // 2, 4, 1, groups=2), nn.Tanh())
        self.conv = nn.Conv3d(half, half, (3, 1, 1), padding=(1, 0, 0))
        self.fc = nn.Linear(half, width)
        self.reset_points()

    def reset_points(self) -> None:
        """Put every point into the middle of the image, where training starts."""
        _zero(self.prediction_block[12])

    def forward(self, frames: Tensor) -> Aligned:
        """Features of patches (B, T, H, W, D) -> what their alignment is; T at least 2, H and W at least 4."""
        b, t, h, w, _ = frames.shape
        if t < 2 or min(h, w) < SMALLEST_GRID:
            raise UserError(f"Alignment compares neighboring frames on a grid of at least {SMALLEST_GRID} x "
                            f"{SMALLEST_GRID}; this clip has {t} frame{'s' * (t > 1)} and a grid of {h} x {w}.")
        pairs = torch.cat([frames[:, :-1], frames[:, 1:]], dim=-1).flatten(0, 1)  # (B (T - 1), H, W, 2D)
        features = self.interactive_block(pairs.permute(0, 3, 1, 2))  # (B (T - 1), C, H, W)
        points = REACH * self.prediction_block(features).flatten(1).unflatten(0, (b, t - 1))  # (B, T - 1, 4)
        disturbance = self.disturbance if self.training else 0.0
        mask_pre = point_mask(points[..., :2], (h, w), disturbance)
        mask_cur = point_mask(points[..., 2:], (h, w), disturbance)
        return Aligned(points, mask_pre, mask_cur, features, self._interaction(features.unflatten(0, (b, t - 1))))

    def _interaction(self, features: Tensor) -> Tensor:
        """Pair features (B, T - 1, C, H, W) -> features of the frames (B, T, H, W, h)."""
        first, second = features.chunk(2, dim=2)
        of_frames = between_frames(first, second, dim=1)  # (B, T, h, H, W)
        return self.conv(of_frames.transpose(1, 2)).permute(0, 2, 3, 4, 1)

    def pair_sums(self, frames: Tensor, aligned: Aligned) -> tuple[Tensor, Tensor]:
        """Masked sums of both frames of each pair, (B, T - 1, D) each, float32; only the loss needs them."""
        with torch.autocast(frames.device.type, enabled=False):
            patches = frames.float().flatten(2, 3)  # (B, T, HW, D)
            return (_weighted_sum(aligned.mask_pre, patches[:, :-1]), _weighted_sum(aligned.mask_cur, patches[:, 1:]))

    def aligned_tokens(self, tokens: Tensor, aligned: Aligned) -> Tensor:
        """Tokens (B, T, L, D), class token first -> the same with masked patches."""
        mask = aligned.frame_mask.flatten(2)  # (B, T, HW)
        return tokens * F.pad(mask, (1, 0), value=1.0)[..., None]

    def interaction_tokens(self, tokens: Tensor, aligned: Aligned) -> Tensor:
        """The class tokens of tokens (B, T, L, D), and the projected interaction features behind them."""
        return torch.cat([tokens[:, :, :1], self.fc(aligned.interaction).flatten(2, 3)], dim=2)


class AlignmentInsert(nn.Module):
    """What is added to the tokens in front of one CLIP block: aligned frames and interaction features (section 3.3).

    Both skip layers start at zero: a fresh model computes what plain CLIP computes for each frame.

    Args:
        width, channels, variant, disturbance: see `Alignment`.

    >>> insert, tokens = AlignmentInsert(width=16, channels=32), torch.rand(4, 17, 16)
    >>> bool((insert(tokens, num_frames=2, grid=(4, 4))[0] == tokens).all())
    True
    """

    def __init__(self, width: int, channels: int = 256, variant: str = "k400", disturbance: float = 0.2) -> None:
        super().__init__()
        self.message_fc = nn.Linear(width, width)
        self.message_ln = nn.LayerNorm(width)
        self.message_attn = Alignment(width, channels, variant, disturbance)
        self.temporal_skip_fc = nn.Linear(width, width)
        self.temporal_skip_align_fc = nn.Linear(width, width)
        self._folded: VersionedCache[Tensor] = VersionedCache()
        self.reset_skips()

    def reset_skips(self) -> None:
        """Put both skip layers to zero, where training starts."""
        _zero(self.temporal_skip_fc)
        _zero(self.temporal_skip_align_fc)

    def forward(self, tokens: Tensor, num_frames: int, grid: tuple[int, int], *,
                with_distance: bool = False) -> tuple[Tensor, Tensor | None, Aligned]:
        """Tokens (B T, L, D) -> tokens for the block, the mean distance of the pairs if asked for, the alignment."""
        messages = self.message_ln(self.message_fc(tokens)).unflatten(0, (-1, num_frames))  # (B, T, L, D)
        frames = messages[:, :, 1:].unflatten(2, grid)
        aligned = self.message_attn(frames)
        distance = pair_distance(*self.message_attn.pair_sums(frames, aligned)) if with_distance else None
        masked = self.message_attn.aligned_tokens(messages, aligned)
        tokens = tokens + self.temporal_skip_align_fc(masked).flatten(0, 1)
        return tokens + self._skip_of_interaction(messages[:, :, :1], aligned), distance, aligned

    def _skip_of_interaction(self, class_tokens: Tensor, aligned: Aligned) -> Tensor:
        """`temporal_skip_fc(interaction_tokens)` (B T, L, D) with its two linear layers multiplied into one.

        The alignment's last projection widens h channels to D, and the skip layer follows at once: their product costs
        h D a position instead of h D + D D.
        """
        weight = self._folded_weight()  # (D, h + 1)
        patches = F.linear(aligned.interaction.flatten(2, 3), weight[:, :-1], weight[:, -1])
        return torch.cat([self.temporal_skip_fc(class_tokens), patches], dim=2).flatten(0, 1)

    def _folded_weight(self) -> Tensor:
        fc, skip = self.message_attn.fc, self.temporal_skip_fc
        sources = (fc.weight, fc.bias, skip.weight, skip.bias)

        def fold() -> Tensor:
            with torch.autocast(skip.weight.device.type, enabled=False):
                bias = skip.weight @ fc.bias + skip.bias
                return torch.cat([skip.weight @ fc.weight, bias[:, None]], dim=1)

        if torch.is_grad_enabled():
            return fold()
        with torch.inference_mode(False), torch.no_grad():
            return self._folded.get(None, sources, fold)


class AlignmentPass(Insertion):
    """One pass of clips through a tower, aligned in front of every block that has an insert.

    Args:
        inserts: one `AlignmentInsert` for each block.
        num_frames: T. grid: (H, W).
        with_distance: collect the distances of the pairs, for the loss.
        batch_statistics: batch norms use their batch also in evaluation, and remember nothing of it.

    Attributes:
        distances: mean distance of the pairs at each block, by block index.
        aligned: what was found at each block, by block index.
    """

    def __init__(self, inserts: nn.ModuleList, num_frames: int, grid: tuple[int, int], *,
                 with_distance: bool = False, batch_statistics: bool = False) -> None:
        self.inserts, self.num_frames, self.grid = inserts, num_frames, grid
        self.with_distance, self.batch_statistics = with_distance, batch_statistics
        self.distances: dict[int, Tensor] = {}
        self.aligned: dict[int, Aligned] = {}

    def before(self, index: int, tokens: Tensor) -> Tensor:
        """Tokens (B T, L, D) with what their neighbors say added."""
        insert, is_again = self.inserts[index], index in self.aligned
        # A checkpointed block runs again in the backward pass; its batch must not count twice.
        with _forgetful(insert, is_again or (self.batch_statistics and not insert.training)):
            tokens, distance, aligned = insert(tokens, self.num_frames, self.grid, with_distance=self.with_distance)
        if not is_again:
            self.aligned[index] = aligned
            if distance is not None:
                self.distances[index] = distance
        return tokens


@contextmanager
def _forgetful(module: nn.Module, is_active: bool) -> Iterator[None]:
    """Batch norms normalize by their batch, and leave their running statistics alone."""
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm) and is_active]
    kept = [(norm.training, norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
    try:
        for norm in norms:
            norm.training, norm.momentum = True, 0.0
        yield
    finally:
        for norm, (mode, momentum, count) in zip(norms, kept, strict=True):
            norm.training, norm.momentum = mode, momentum
            norm.num_batches_tracked.copy_(count)


def _interactive_block(inputs: int, channels: int, variant: str) -> nn.Sequential:
    if variant == "ssv2":
        return nn.Sequential(
            nn.Conv2d(inputs, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU())
    separable = nn.Sequential(OrderedDict(
        depthwise_conv=nn.Sequential(nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs), nn.BatchNorm2d(inputs),
                                     nn.ReLU()),
        pointwise_conv=nn.Sequential(nn.Conv2d(inputs, channels, 1), nn.BatchNorm2d(channels), nn.ReLU())))
    return nn.Sequential(separable, nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU())


def _zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def _weighted_sum(weights: Tensor, patches: Tensor) -> Tensor:
    """Weights (B, P, H, W) and patches (B, P, HW, D) -> (B, P, D)."""
    return (weights.flatten(2).unsqueeze(2) @ patches).squeeze(2)
