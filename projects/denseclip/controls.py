"""What DenseCLIP is compared with to see where a gain comes from: the same model whose words mean nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from clipapps.errors import UserError
from clipapps.projects.denseclip.models import DenseCLIPSegmentor
from clipapps.registry import MODELS


@MODELS.register_module(name="DenseCLIPRandomTextSegmentor")
class RandomTextSegmentor(DenseCLIPSegmentor):
    """DenseCLIP with a fixed random direction for each class in place of its text embedding.

    Whatever it gains over the baseline comes from the score maps' extra loss and channels, not from language.

    Args:
        text_seed: seed of the directions; their lengths stay those of the class embeddings.
        **options: as for `DenseCLIPSegmentor`.

    Raises:
        UserError: other names than the trained ones are asked for; they have no directions.

    >>> from clipapps.engine.config import load_config
    >>> config = load_config("denseclip/denseclip_fpn_tiny_toyworld", ["model.backbone.weights=None"])
    >>> model = MODELS.build(config.model | dict(type=RandomTextSegmentor))
    >>> model.shared_text_embeddings().shape
    torch.Size([1, 11, 128])
    """

    def __init__(self, *args: Any, text_seed: int = 0, **options: Any) -> None:
        super().__init__(*args, **options)
        generator = torch.Generator().manual_seed(text_seed)
        directions = torch.randn(1, self.num_classes, self.backbone.embed_dim, generator=generator)
        self.directions: Tensor
        self.register_buffer("directions", F.normalize(directions, dim=-1))

    def shared_text_embeddings(self, names: Sequence[str] | None = None) -> Tensor:
        """(1, K, E): the directions, as long as the class embeddings are."""
        if names is not None:
            raise UserError("This control model has random vectors instead of words; it cannot take other class names.")
        with torch.no_grad():
            lengths = super().shared_text_embeddings().norm(dim=-1, keepdim=True)
        return lengths * self.directions
