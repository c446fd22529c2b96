"""Video-specific prompts: class embeddings that listen to the clip (X-CLIP, section 3.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipapps.projects.ila.integration import QuickGELU, init_linears, num_heads


class CrossAttention(nn.Module):
    """Texts ask, patches answer.

    >>> CrossAttention(64)(torch.rand(2, 3, 64), torch.rand(2, 9, 64)).shape
    torch.Size([2, 3, 64])
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = num_heads(width)
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, text: Tensor, visual: Tensor) -> Tensor:
        """Texts (B, K, E) and patches (B, N, E) -> (B, K, E)."""
        query, key, value = (projection(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for projection, x in
                             ((self.q_proj, text), (self.k_proj, visual), (self.v_proj, visual)))
        answer = F.scaled_dot_product_attention(query, key, value)  # (B, heads, K, 64)
        return self.proj(answer.transpose(1, 2).flatten(2))


class PromptLayer(nn.Module):
    """Cross-attention and an MLP on the texts, each with a norm in front and a residual path.

    >>> PromptLayer(64)(torch.rand(2, 3, 64), torch.rand(2, 9, 64)).shape
    torch.Size([2, 3, 64])
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.cross_attn = CrossAttention(width)
        self.norm1, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width)
        # the third entry is the released model's dropout of rate 0, which keeps the names
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), QuickGELU(), nn.Identity(), nn.Linear(4 * width, width))

    def forward(self, text: Tensor, visual: Tensor) -> Tensor:
        """Texts (B, K, E) and patches (B, N, E) -> (B, K, E)."""
        text = text + self.cross_attn(self.norm1(text), visual)
        return text + self.mlp(self.norm3(text))


class VideoPrompts(nn.Module):
    """alpha * decoder(texts, patches): what is added to the class embeddings for one clip.

    Args:
        width: E, of the joint space. layers: of the decoder. alpha: its start; the constructor of the released code
            says 1e-4, its entry point passes 0.1.

    >>> VideoPrompts(64)(torch.rand(2, 3, 64), torch.rand(2, 9, 64)).shape
    torch.Size([2, 3, 64])
    """

    def __init__(self, width: int, layers: int = 2, alpha: float = 0.1) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.decoder = nn.ModuleList(PromptLayer(width) for _ in range(layers))
        self.alpha = nn.Parameter(torch.full((width,), alpha))
        init_linears(self)

    def forward(self, text: Tensor, visual: Tensor) -> Tensor:
        """Class embeddings (B, K, E) and projected patches (B, N, E) -> what to add to the former, (B, K, E)."""
        visual = self.norm(visual)
        for layer in self.decoder:
            text = layer(text, visual)
        return self.alpha * text
