"""CLIP's attention pool, applied at every position instead of at the mean token alone (DenseCLIP, section 3)."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipapps.clip.positions import resize_positions


class AttentionPoolParameters(Protocol):
    """The parameters that open_clip's `AttentionPool2d` and `DenseAttentionPool` share."""

    positional_embedding: nn.Parameter
    q_proj: nn.Linear
    k_proj: nn.Linear
    v_proj: nn.Linear
    c_proj: nn.Linear
    num_heads: int
    training: bool


def attention_pool(
    pool: AttentionPoolParameters, feature_map: Tensor, *, mode: str = "resize", interpolation: str = "bilinear"
) -> tuple[Tensor, Tensor]:
    """Attend from the mean token and from every position of a (B, C, h, w) map.

    The call is the one open_clip makes, which computes all queries and keeps the first; hence the pooled vector
    equals open_clip's bit for bit at the native size.

    Returns:
        pooled (B, D) and dense (B, D, h, w), both in the joint space.
    """
    height, width = feature_map.shape[-2:]
    tokens = feature_map.flatten(2).permute(2, 0, 1)  # (hw, B, C)
    tokens = torch.cat([tokens.mean(dim=0, keepdim=True), tokens], dim=0)  # (1 + hw, B, C)
    positions = resize_positions(pool.positional_embedding, (height, width), interpolation=interpolation, mode=mode)
    tokens = tokens + positions[:, None, :].to(tokens.dtype)
    attended, _ = F.multi_head_attention_forward(
        query=tokens,
        key=tokens,
        value=tokens,
        embed_dim_to_check=tokens.shape[-1],
        num_heads=pool.num_heads,
        q_proj_weight=pool.q_proj.weight,
        k_proj_weight=pool.k_proj.weight,
        v_proj_weight=pool.v_proj.weight,
        in_proj_weight=None,
        in_proj_bias=torch.cat([pool.q_proj.bias, pool.k_proj.bias, pool.v_proj.bias]),
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0.0,
        out_proj_weight=pool.c_proj.weight,
        out_proj_bias=pool.c_proj.bias,
        use_separate_proj_weight=True,
        training=pool.training,
        need_weights=False,
    )
    dense = attended[1:].permute(1, 2, 0).unflatten(2, (height, width))  # (B, D, h, w)
    return attended[0], dense


def value_pool(pool: AttentionPoolParameters, feature_map: Tensor) -> Tensor:
    """The pool's value and output projections at every position, no attention and no positions (MaskCLIP for ResNets).

    Returns:
        (B, D, h, w) in the joint space.
    """
    values = pool.c_proj(pool.v_proj(feature_map.permute(0, 2, 3, 1)))  # (B, h, w, D)
    return values.permute(0, 3, 1, 2)


class DenseAttentionPool(nn.Module):
    """A stand-alone dense attention pool, for backbones that have none (DenseCLIP's "any backbone" variant).

    Args:
        grid: side S of the stored positional grid.
        in_channels: channels C of the feature map.
        num_heads: attention heads.
        out_channels: joint embedding size D.
        mode, interpolation: how positions meet another grid, see `resize_positions`.

    >>> pooled, dense = DenseAttentionPool(4, 64, 4, 40)(torch.rand(2, 64, 3, 6))
    >>> pooled.shape, dense.shape
    (torch.Size([2, 40]), torch.Size([2, 40, 3, 6]))
    """

    def __init__(
        self,
        grid: int,
        in_channels: int,
        num_heads: int,
        out_channels: int,
        *,
        mode: str = "resize",
        interpolation: str = "bilinear",
    ) -> None:
        super().__init__()
        std = in_channels**-0.5
        self.positional_embedding = nn.Parameter(torch.randn(grid**2 + 1, in_channels) * std)
        self.k_proj = nn.Linear(in_channels, in_channels)
        self.q_proj = nn.Linear(in_channels, in_channels)
        self.v_proj = nn.Linear(in_channels, in_channels)
        self.c_proj = nn.Linear(in_channels, out_channels)
        self.num_heads = num_heads
        self.mode, self.interpolation = mode, interpolation
        for layer in (self.q_proj, self.k_proj, self.v_proj, self.c_proj):
            nn.init.normal_(layer.weight, std=std)

    def forward(self, feature_map: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, h, w) -> pooled (B, D) and dense (B, D, h, w)."""
        return attention_pool(self, feature_map, mode=self.mode, interpolation=self.interpolation)
