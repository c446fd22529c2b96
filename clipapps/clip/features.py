"""What the image tower returns."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class Features:
    """Everything one pass through the image tower yields.

    Letters: B images, C tower width, D joint embedding size, h x w feature grid, N tokens.

    Args:
        levels: one map (B, C_i, h_i, w_i) for each entry of `out_indices`: the raw output of that block (ViT, prefix
            tokens dropped) or stage (ResNet).
        pooled: the image embedding (B, D) in the joint space, not normalized; None without pooling parts.
        tokens: final tokens (B, N, C) after the last norm, prefix tokens first; None for convolutional towers.
        dense: an embedding in the joint space at every grid position, (B, D, h, w), not normalized, or None.
        stem: output of a CLIP ResNet's stem after its average pool, (B, C, H/4, W/4); None for other towers.
    """

    levels: list[Tensor] = field(default_factory=list)
    pooled: Tensor | None = None
    tokens: Tensor | None = None
    dense: Tensor | None = None
    stem: Tensor | None = None
