"""What tells backlit from well-lit in CLIP's space: a pair of prompts, a pair of vectors, or one direction."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from clipapps.clip import CLIPBackbone
from clipapps.clip.text_cache import VersionedCache
from clipapps.errors import ConfigError
from clipapps.projects.backlit import losses
from clipapps.projects.backlit.residual import Residual
from clipapps.registry import MODELS


class Guidance(nn.Module):
    """One of the three sources of guidance, built for a frozen CLIP.

    Args:
        clip: whose joint space it lives in; not a part of this module.
    """

    #: whether `initialization_loss` and `ranking_loss` train it; if not, `fit` sets it once
    is_learned: bool

    def __init__(self, clip: CLIPBackbone) -> None:
        super().__init__()
        self._clip = (clip,)  # a tuple hides it from torch: it is neither trained nor saved here

    @property
    def clip(self) -> CLIPBackbone:
        """The CLIP it was built for."""
        return self._clip[0]

    @abstractmethod
    def loss(self, embeds: Tensor) -> Tensor:
        """Guidance loss of enhanced images' embeddings (B, D), a scalar without weight; does not train the guidance."""

    def init_weights(self) -> None:
        """Take from CLIP what the start needs."""


class LearnedPair(Guidance):
    """A negative and a positive vector that learn from images what light is (CLIP-LIT, sections 3.1 and 3.2)."""

    is_learned = True

    def __init__(self, clip: CLIPBackbone) -> None:
        super().__init__(clip)
        self._cache: VersionedCache[Tensor] = VersionedCache()

    @abstractmethod
    def vectors(self) -> Tensor:
        """The pair (2, D), not normalized; row 0 is negative."""

    def frozen_vectors(self) -> Tensor:
        """`vectors` without gradients, computed once for as long as the parameters stay as they are."""
        with torch.no_grad():
            return self._cache.get("vectors", self.parameters(), lambda: self.vectors().clone())

    def loss(self, embeds: Tensor) -> Tensor:
        """Mean probability that enhanced images are backlit."""
        return losses.pair_guidance_loss(embeds, self.frozen_vectors())

    def initialization_loss(self, embeds: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy over labeled embeddings (B, D); label 0 is backlit, 1 well-lit."""
        return losses.initialization_loss(embeds, labels, self.vectors())

    def ranking_loss(self, groups: list[Tensor], margins: tuple[float, float]) -> Tensor:
        """`losses.rank_loss` over groups of embeddings (B, D); the text tower runs once for all of them."""
        pair = self.vectors()
        return losses.rank_loss([losses.backlit_scores(embeds, pair) for embeds in groups], margins)


@MODELS.register_module(name="BacklitPromptPair")
class PromptPair(LearnedPair):
    """Two learnable prompts through CLIP's frozen text tower (CLIP-LIT).

    Every position of both rows is a parameter, and both begin as the same text; the gradients of the two labels pull
    them apart.

    Args:
        clip: see `Guidance`.
        length: words of the initial text, "X X ... X".
        text: another initial text for both rows; `length` then does not matter.

    >>> pair = PromptPair(CLIPBackbone("tiny-rn"), length=4)
    >>> tuple(pair.embedding.shape), pair.pool_index, tuple(pair.vectors().shape)
    ((2, 32, 64), 5, (2, 128))
    """

    def __init__(self, clip: CLIPBackbone, length: int = 16, text: str | None = None) -> None:
        super().__init__(clip)
        self.text = " ".join(["X"] * length) if text is None else text
        ids = clip.tokenize([self.text])
        self.pool_index = int(clip.pool_index(ids)[0])
        self.embedding = nn.Parameter(torch.empty(2, ids.shape[1], clip.text_width).normal_(std=0.02))

    @torch.no_grad()
    def init_weights(self) -> None:
        """Both rows become the token embeddings of the initial text."""
        self.embedding.copy_(self.clip.embed_tokens(self.clip.tokenize([self.text]).to(self.embedding.device))[0])

    def vectors(self) -> Tensor:
        """Text features (2, D) of the two prompts; the pooled position is that of the initial text.

        Positions behind it do not matter to a causal tower and are not computed.
        """
        index = torch.full((2,), self.pool_index, device=self.embedding.device)
        length = self.pool_index + 1 if self.clip.has_causal_text else None
        return self.clip.encode_text_embeddings(self.embedding[:, :length], index)


@MODELS.register_module(name="BacklitLatentPair")
class LatentPair(LearnedPair):
    """Two free vectors in CLIP's space: no text tower is needed (CLIP-LIT-Latent, RAVE section 3.1).

    >>> tuple(LatentPair(CLIPBackbone("tiny-rn", with_text=False)).vectors().shape)
    (2, 128)
    """

    def __init__(self, clip: CLIPBackbone) -> None:
        super().__init__(clip)
        self.embedding = nn.Parameter(torch.randn(2, clip.embed_dim))

    def vectors(self) -> Tensor:
        """The pair itself, (2, D)."""
        return self.embedding


@MODELS.register_module(name="BacklitResidualDirection")
class ResidualDirection(Guidance):
    """The fixed direction from backlit to well-lit training images (RAVE, section 3.2); `fit` computes it once.

    Args:
        clip: see `Guidance`.
        embed_transform: "crop", CLIP's evaluation transform, or "squash", the network's own view of a photo.
        shift_tokens: how many tokens at either end correct the data's bias; 0: none. The paper's model uses 15.
        words: the vocabulary for the report and the correction; None: every token that CLIP's tokenizer has.

    >>> direction = ResidualDirection(CLIPBackbone("tiny-rn", with_text=False))
    >>> bool(direction.is_fitted), tuple(direction.direction.shape)
    (False, (128,))
    """

    is_learned = False
    direction: Tensor
    threshold: Tensor
    is_fitted: Tensor

    def __init__(self, clip: CLIPBackbone, embed_transform: str = "crop", shift_tokens: int = 0,
                 words: list[str] | None = None) -> None:
        super().__init__(clip)
        if embed_transform not in ("crop", "squash"):
            raise ConfigError(f"embed_transform is crop or squash, not {embed_transform!r}.")
        self.embed_transform, self.shift_tokens, self.words = embed_transform, shift_tokens, words
        self.register_buffer("direction", torch.zeros(clip.embed_dim))
        self.register_buffer("threshold", torch.zeros(()))
        self.register_buffer("is_fitted", torch.zeros((), dtype=torch.bool))

    def set(self, residual: Residual) -> None:
        """Use this residual from now on."""
        self.direction.copy_(residual.direction)
        self.threshold.copy_(residual.threshold)
        self.is_fitted.fill_(True)

    def loss(self, embeds: Tensor) -> Tensor:
        """Mean squared distance of the cosines from the threshold.

        Raises:
            ConfigError: the direction was never computed.
        """
        if not self.is_fitted:
            raise ConfigError("The residual direction has not been computed; RAVE trains with the loop "
                              "BacklitTrainLoop, which computes it from the training images.")
        return losses.residual_guidance_loss(embeds, self.direction, self.threshold)


def build_guidance(config: Guidance | dict[str, Any], clip: CLIPBackbone) -> Guidance:
    """A guidance from its config, for the CLIP given."""
    if isinstance(config, Guidance):
        return config
    guidance: Guidance = MODELS.build({**config, "clip": clip})
    return guidance
