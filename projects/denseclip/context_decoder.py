"""Context-aware prompting: text embeddings that look at the image (DenseCLIP, section 3.3)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from clipapps.registry import MODELS

INIT_STD = 0.02  # of every linear weight, cut at two standard deviations, as in the released code


class ContextAttention(nn.Module):
    """Multi-head attention with bias-free query, key and value projections.

    Args:
        width: token width d, a multiple of `heads`.
        heads: number of heads.
        dropout: probability of dropping an output element; attention weights are never dropped.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.proj = nn.Linear(width, width)
        self.proj_drop = nn.Dropout(dropout)

    def forward(self, queries: Tensor, memory: Tensor) -> Tensor:
        """Queries (B, K, d) attend to memory (B, M, d); returns (B, K, d)."""
        query, key, value = (
            tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, ., d / heads)
            for tokens in (self.q_proj(queries), self.k_proj(memory), self.v_proj(memory))
        )
        attended = F.scaled_dot_product_attention(query, key, value)
        return self.proj_drop(self.proj(attended.transpose(1, 2).flatten(2)))


class ContextDecoderLayer(nn.Module):
    """A pre-norm transformer decoder layer: self-attention, cross-attention, MLP; no mask, no positions.

    Args:
        width: token width d.
        heads: attention heads.
        dropout: dropout probability of the three branches.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = ContextAttention(width, heads, dropout)
        self.cross_attn = ContextAttention(width, heads, dropout)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, memory: Tensor) -> Tensor:
        """Tokens (B, K, d) attend to each other, then to memory (B, M, d); returns (B, K, d)."""
        normed = self.norm1(tokens)
        tokens = tokens + self.self_attn(normed, normed)
        tokens = tokens + self.cross_attn(self.norm2(tokens), memory)
        return tokens + self.dropout(self.mlp(self.norm3(tokens)))


@MODELS.register_module(name="DenseCLIPContextDecoder")
class ContextDecoder(nn.Module):
    """A small transformer decoder in which queries read the image (DenseCLIP, section 3.3 and figure 4).

    Post-model prompting passes text embeddings as queries and adds the scaled output to them; pre-model prompting
    passes learnable queries and uses the output as contexts of the text encoder.

    Args:
        visual_dim: width E of the visual tokens (the joint embedding size).
        query_dim: width of queries and output; None means `visual_dim`.
        width: inner width d.
        heads: attention heads.
        layers: decoder layers; the released configs use 3, the paper says 6.
        dropout: dropout probability inside the layers.

    >>> decoder = ContextDecoder(visual_dim=64, width=32, heads=4, layers=1)
    >>> decoder(torch.rand(2, 5, 64), torch.rand(2, 17, 64)).shape
    torch.Size([2, 5, 64])
    """

    def __init__(
        self,
        visual_dim: int,
        *,
        query_dim: int | None = None,
        width: int = 256,
        heads: int = 4,
        layers: int = 3,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        query_dim = query_dim or visual_dim
        self.memory_proj = nn.Sequential(nn.LayerNorm(visual_dim), nn.Linear(visual_dim, width), nn.LayerNorm(width))
        self.text_proj = nn.Sequential(nn.LayerNorm(query_dim), nn.Linear(query_dim, width))
        self.decoder = nn.ModuleList(ContextDecoderLayer(width, heads, dropout) for _ in range(layers))
        self.out_proj = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, query_dim))
        self.apply(_init_linear)

    def forward(self, queries: Tensor, visual: Tensor) -> Tensor:
        """Queries (B, K, query_dim) read visual tokens (B, 1 + hw, visual_dim); returns (B, K, query_dim)."""
        memory = self.memory_proj(visual)  # (B, 1 + hw, d)
        tokens = self.text_proj(queries)  # (B, K, d)
        for layer in self.decoder:
            tokens = layer(tokens, memory)
        return self.out_proj(tokens)


def _init_linear(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=INIT_STD, a=-2 * INIT_STD, b=2 * INIT_STD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
