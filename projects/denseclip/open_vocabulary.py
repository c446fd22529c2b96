"""Class lists that a segmentor was not trained with: score maps for every name, the decoder for the names it knows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

SOURCES = ("scores", "scores+decoder")


def combined_log_probabilities(scores: Tensor, vocabulary: Sequence[str], decoder: Tensor,
                               trained: Sequence[str]) -> Tensor:
    """Score maps say how likely a pixel is one of the new names; the decoder divides the rest among those it knows.

    p(new name) = softmax of the scores over the whole vocabulary; p(known name) = what is left, in the decoder's
    proportions.

    Args:
        scores: logits (B, K', H, W) of every name of `vocabulary`.
        decoder: logits (B, K, H, W) of every name of `trained`.

    Returns:
        log probabilities (B, K', H, W) in the order of `vocabulary`.
    """
    result = scores.float().log_softmax(dim=1)
    known = [index for index, name in enumerate(vocabulary) if name in trained]
    if not known:
        return result
    of_decoder = decoder.float()[:, [trained.index(vocabulary[index]) for index in known]].log_softmax(dim=1)
    left = result[:, known].logsumexp(dim=1, keepdim=True)
    return torch.index_copy(result, 1, torch.tensor(known, device=result.device), left + of_decoder)
