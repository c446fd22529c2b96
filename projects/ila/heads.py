"""From a clip's embedding to class scores: by the names of the classes, or by a linear layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipapps.clip import CLIPBackbone
from clipapps.clip.text_cache import VersionedCache
from clipapps.projects.ila.class_names import resolve_class_names
from clipapps.projects.ila.integration import init_linears
from clipapps.projects.ila.prompts import VideoPrompts


class LinearHead(nn.Module):
    """Norm, dropout and a linear layer on normalized clip embeddings (the Something-Something variant).

    >>> LinearHead(64, num_classes=5)(torch.rand(2, 64)).shape
    torch.Size([2, 5])
    """

    def __init__(self, width: int, num_classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.norm, self.dropout, self.fc = nn.LayerNorm(width), nn.Dropout(dropout), nn.Linear(width, num_classes)
        init_linears(self)

    def forward(self, clips: Tensor) -> Tensor:
        """Clip embeddings (B, E) -> logits (B, K)."""
        return self.fc(self.dropout(self.norm(F.normalize(clips, dim=-1, eps=0.0))))


class TextHead(nn.Module):
    """Cosine similarity to class names, which may listen to the clip first (the Kinetics variant).

    The bare names are the texts, without a template. Any list of names can take the place of the trained one.

    Args:
        tower_width: D, of the image tower. width: E, of the joint space.
        class_names: names in label order, or "kinetics400".
        prompts: arguments of `VideoPrompts`; None: the names' own embeddings are compared.
        train_prompts: the released recipe leaves the prompts as they were drawn, and so does False.

    >>> head = TextHead(32, 64, ["a dance", "a fall"])
    >>> patches, text = torch.rand(3, 2, 9, 32), torch.rand(2, 64)
    >>> head(torch.rand(3, 64), patches, text, torch.tensor(100.0)).shape
    torch.Size([3, 2])
    """

    def __init__(self, tower_width: int, width: int, class_names: str | Sequence[str],
                 prompts: Mapping[str, Any] | None = None, train_prompts: bool = False) -> None:
        super().__init__()
        self.use_classes(class_names)
        self._ids: tuple[tuple[str, ...], Tensor] | None = None
        self.prompts_generator: VideoPrompts | None = None
        if prompts is not None:
            self.prompts_generator = VideoPrompts(width, **prompts)
            self.prompts_visual_ln = nn.LayerNorm(tower_width)
            self.prompts_visual_proj = nn.Parameter(torch.randn(tower_width, width))
            self.requires_grad_(train_prompts)
        self._cache: VersionedCache[Tensor] = VersionedCache()

    def use_classes(self, class_names: str | Sequence[str]) -> None:
        """Score these classes from now on: names in label order, or the name of a known list."""
        self.class_names = resolve_class_names(class_names)

    def embed_names(self, backbone: CLIPBackbone) -> Tensor:
        """Embeddings (K, E) of the class names, not normalized; remembered until names or text weights change."""
        if self._ids is None or self._ids[0] != self.class_names:
            # Nothing behind the end of a text matters to a causal tower, so the longest name sets the length.
            length = min(max(backbone.token_counts(self.class_names)), backbone.context_length)
            self._ids = self.class_names, backbone.tokenize(self.class_names, length)
        return self.embed_ids(backbone, self._ids[1])

    def embed_ids(self, backbone: CLIPBackbone, ids: Tensor, pool_index: Tensor | None = None) -> Tensor:
        """Embeddings (K, E) of token ids (K, L) pooled at `pool_index` (K,), by default at the end of text."""
        index = backbone.pool_index(ids) if pool_index is None else pool_index
        backbone.init_weights()
        parameters = backbone.text_parameters()
        if torch.is_grad_enabled() and any(parameter.requires_grad for parameter in parameters):
            return backbone.encode_text(ids, pool_index=index.to(parameters[0].device))
        key = (tuple(map(tuple, ids.tolist())), tuple(index.tolist()))
        with torch.inference_mode(False), torch.no_grad():
            return self._cache.get(key, parameters, lambda: backbone.encode_text(
                ids, pool_index=index.to(parameters[0].device)))

    def project_patches(self, patches: Tensor) -> Tensor:
        """Patches (..., D) as the last block leaves them -> what the prompts read, (..., E)."""
        return self.prompts_visual_ln(patches) @ self.prompts_visual_proj

    def prompted(self, text: Tensor, patches: Tensor) -> Tensor:
        """Class embeddings (K, E) and patches (B, T, HW, D) -> class embeddings for each clip (B, K, E)."""
        text = text.expand(len(patches), -1, -1)
        if self.prompts_generator is None:
            return text
        return text + self.prompts_generator(text, self.project_patches(patches).mean(dim=1))

    def forward(self, clips: Tensor, patches: Tensor, text: Tensor, scale: Tensor) -> Tensor:
        """Logits (B, K) of clip embeddings (B, E), with their patches (B, T, HW, D), class embeddings (K, E)."""
        text = F.normalize(self.prompted(text, patches), dim=-1, eps=0.0)
        return scale * (text @ F.normalize(clips, dim=-1, eps=0.0).unsqueeze(-1)).squeeze(-1)
