"""The multi-frame integration transformer (MIT): one embedding for a clip from the embeddings of its frames."""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from torch import Tensor, nn

HEAD_WIDTH = 64  # of CLIP and everything built on it here
INIT_STD = 0.02


class QuickGELU(nn.Module):
    """OpenAI's approximation of GELU, x * sigmoid(1.702 x)."""

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as the input."""
        return x * torch.sigmoid(1.702 * x)


class ResidualAttention(nn.Module):
    """A pre-norm attention block as CLIP's own; parameter names are CLIP's.

    >>> ResidualAttention(64)(torch.rand(2, 5, 64)).shape
    torch.Size([2, 5, 64])
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, num_heads(width), batch_first=True)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(OrderedDict(c_fc=nn.Linear(width, 4 * width), gelu=QuickGELU(),
                                             c_proj=nn.Linear(4 * width, width)))
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, N, E) -> (B, N, E)."""
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class FrameIntegration(nn.Module):
    """Frames attend to each other; their mean stands for the clip (section 3.5; MIT of X-CLIP).

    A checkpoint of another number of frames loads: its positions are interpolated linearly in time. So are those of
    clips of another length than `num_frames`.

    Args:
        width: E, of the frame embeddings. num_frames: T. layers: attention blocks.

    >>> FrameIntegration(64, num_frames=8)(torch.rand(2, 8, 64)).shape
    torch.Size([2, 64])
    """

    def __init__(self, width: int, num_frames: int, layers: int = 1) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.empty(1, num_frames, width))
        self.resblocks = nn.Sequential(*[ResidualAttention(width) for _ in range(layers)])
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Positions and linear layers small and normal, biases zero; attention's input projection as torch has it."""
        nn.init.trunc_normal_(self.positional_embedding, std=INIT_STD)
        init_linears(self)

    def forward(self, frames: Tensor) -> Tensor:
        """Frame embeddings (B, T, E) -> clip embeddings (B, E), not normalized."""
        positions = resize_in_time(self.positional_embedding, frames.shape[1])
        return (self.resblocks(frames + positions) + frames).mean(dim=1)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        name = f"{prefix}positional_embedding"
        found, wanted = state_dict.get(name), self.positional_embedding.shape[1]
        if isinstance(found, Tensor) and found.ndim == 3 and found.shape[1] != wanted:
            state_dict[name] = resize_in_time(found, wanted)
            print_log(f"{name}: positions of {found.shape[1]} frames interpolated to {wanted}", "current",
                      logging.WARNING)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def init_linears(module: nn.Module) -> None:
    """Linear layers below `module`: truncated normal weights, zero biases."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=INIT_STD)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def resize_in_time(positions: Tensor, num_frames: int) -> Tensor:
    """Positions (1, T', E) -> (1, T, E), linearly."""
    if positions.shape[1] == num_frames:
        return positions
    return F.interpolate(positions.transpose(1, 2), size=num_frames, mode="linear").transpose(1, 2)


def num_heads(width: int) -> int:
    """Attention heads of this width: 64 channels each, as in every CLIP; at least one."""
    return max(1, width // HEAD_WIDTH)
