"""Losses of ILA: soft-target cross-entropy, and the distance between the aligned frames of each pair."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def soft_cross_entropy(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of logits (B, K): mean over clips of -sum_k y_bk log softmax(logits)_bk.

    Args:
        targets: class indices (B,), or distributions (B, K) (from mixup or cutmix: smoothed already).
        smoothing: share of each index's mass that is spread evenly over all classes.
    """
    if targets.is_floating_point():
        return -(targets * logits.float().log_softmax(dim=-1)).sum(dim=-1).mean()
    return F.cross_entropy(logits.float(), targets, label_smoothing=smoothing)


def pair_distance(pre: Tensor, cur: Tensor) -> Tensor:
    """Mean of 1 - cosine(pre, cur) over all pairs (..., D): a scalar in 0..2 (section 3.4)."""
    return (1 - F.cosine_similarity(pre, cur, dim=-1, eps=1e-12)).mean()
