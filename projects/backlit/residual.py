"""RAVE's residual vector, what it says in words, and its correction (arXiv 2404.01889, sections 3.2 and 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from clipapps.clip import CLIPBackbone
from clipapps.errors import UserError

_CHUNK = 512


@dataclass(frozen=True)
class Residual:
    """The direction from backlit to well-lit images in CLIP's space.

    Args:
        direction: (D,), of length 1.
        threshold: cosine of the well-lit mean with it, a scalar; enhanced images are drawn to this value.
        negative, positive: (D,) means of the backlit and of the well-lit embeddings, of length 1.
        removed: (D,) what `corrected` took out, of length 1; None where nothing was.
    """

    direction: Tensor
    threshold: Tensor
    negative: Tensor
    positive: Tensor
    removed: Tensor | None = None


def residual_vector(backlit: Tensor, well_lit: Tensor) -> Residual:
    """The residual of two sets of image embeddings, (N, D) and (M, D); their lengths do not matter.

    >>> found = residual_vector(torch.randn(5, 8), torch.randn(4, 8))
    >>> torch.allclose(found.threshold, (found.positive - found.negative).norm() / 2)
    True
    """
    negative, positive = (F.normalize(F.normalize(embeds.float(), dim=-1).mean(dim=0), dim=0)
                          for embeds in (backlit, well_lit))
    direction = F.normalize(positive - negative, dim=0)
    return Residual(direction, positive @ direction, negative, positive)


@dataclass(frozen=True)
class Interpretation:
    """The vocabulary ranked along a direction.

    Args:
        cosines: (K,) of every token with the direction.
        nearest: indices of the most similar tokens, best first: what well-lit images have.
        farthest: indices of the least similar ones, least first: what backlit images have.
    """

    cosines: Tensor
    nearest: Tensor
    farthest: Tensor


def interpret(residual: Residual, vocabulary: Tensor, count: int = 15) -> Interpretation:
    """Rank token embeddings (K, D) by their cosines with the residual; words without light in them reveal data bias.

    Raises:
        UserError: there are fewer than 2 * count tokens.
    """
    if len(vocabulary) < 2 * count:
        raise UserError(f"{len(vocabulary)} words are too few to tell the {count} nearest and {count} farthest apart.")
    cosines = F.normalize(vocabulary.float(), dim=-1) @ residual.direction
    order = cosines.argsort()
    return Interpretation(cosines, order.flip(0)[:count], order[:count])


def corrected(residual: Residual, vocabulary: Tensor, found: Interpretation) -> Residual:
    """The residual without the component that its nearest and farthest tokens share: the data's bias (section 3.3).

    Args:
        residual: of `residual_vector`.
        vocabulary: (K, D) token embeddings, not normalized, as they were given to `interpret`.
        found: which tokens; choose others by hand to remove something else.
    """
    shared = F.normalize(_weighted_mean(vocabulary, found, found.nearest)
                         + _weighted_mean(vocabulary, found, found.farthest), dim=0)
    direction = F.normalize(residual.direction - shared * (shared @ residual.direction), dim=0)
    return Residual(direction, residual.positive @ direction, residual.negative, residual.positive, shared)


def _weighted_mean(vocabulary: Tensor, found: Interpretation, indices: Tensor) -> Tensor:
    """Unit mean of token embeddings, each times its cosine, which is negative for the farthest."""
    return F.normalize((found.cosines[indices, None] * vocabulary[indices].float()).mean(dim=0), dim=0)


@torch.no_grad()
def embed_words(clip: CLIPBackbone, words: Sequence[str]) -> Tensor:
    """Text embeddings (K, D) of words, each alone as a prompt, not normalized; in batches as long as they must be."""
    parts = []
    for start in range(0, len(words), _CHUNK):
        chunk = list(words[start:start + _CHUNK])
        length = min(max(clip.token_counts(chunk)), clip.context_length)
        parts.append(clip.encode_text(clip.tokenize(chunk, length)))
    return torch.cat(parts)


def report(residual: Residual, found: Interpretation, words: Sequence[str]) -> dict[str, Any]:
    """What a direction says, as plain values: its threshold, and the nearest and farthest words with their cosines."""
    def listed(indices: Tensor) -> list[dict[str, Any]]:
        return [dict(word=words[i], cosine=round(float(found.cosines[i]), 4)) for i in indices.tolist()]

    return dict(threshold=float(residual.threshold), cosine_of_means=float(residual.positive @ residual.negative),
                well_lit=listed(found.nearest), backlit=listed(found.farthest))
