"""What the released code computes differently from CLIP; the `*_official` configs train with it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from clipapps.clip import CLIPBackbone, Features, Insertion
from clipapps.registry import MODELS


class ClassTokenTwice(Insertion):
    """Add the class embedding to the class token a second time, behind the positions.

    Args:
        class_embedding: (C,), the tower's own parameter; gradients reach it through both.
    """

    def __init__(self, class_embedding: Tensor) -> None:
        self.class_embedding = class_embedding

    def embed(self, tokens: Tensor) -> Tensor:
        """Tokens (B, 1 + hw, C), the class token first."""
        return torch.cat([tokens[:, :1] + self.class_embedding.to(tokens.dtype), tokens[:, 1:]], dim=1)


@MODELS.register_module(name="DenseCLIPOfficialBackbone")
class OfficialBackbone(CLIPBackbone):
    """A `CLIPBackbone` whose ViT adds its class embedding twice, as the released DenseCLIP trains; ResNets are CLIP's.

    For training from CLIP's weights. Converted checkpoints have the second one folded into a position and belong to
    the plain `CLIPBackbone`.

    >>> tiny = dict(embed_dim=8, vision_cfg=dict(layers=1, width=32, head_width=32, patch_size=16, image_size=32),
    ...             text_cfg=dict(context_length=8, vocab_size=16, width=32, heads=1, layers=1))
    >>> OfficialBackbone(tiny)(torch.rand(1, 3, 32, 32)).pooled.shape
    torch.Size([1, 8])
    """

    def forward(self, images: Tensor, **options: Any) -> Features:
        """Run the image tower, see `CLIPBackbone.forward`."""
        class_embedding = getattr(self.model.visual, "class_embedding", None)
        if class_embedding is not None:
            self.init_weights()
            options["insertions"] = (ClassTokenTwice(class_embedding), *options.get("insertions", ()))
        return super().forward(images, **options)
