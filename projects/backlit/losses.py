"""The losses of CLIP-LIT (arXiv 2303.17569, section 3) and RAVE (arXiv 2404.01889, section 3), without their weights.

Letters: B images, D joint embedding size. `embeds` are L2-normalized image embeddings (B, D). A pair (2, D) holds the
negative (backlit) vector in row 0 and the positive (well-lit) one in row 1, not normalized. The score of an image is
the probability of the negative row: high is backlit, low is well-lit.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from clipapps.errors import ConfigError

#: factor on the cosines of a pair; a constant, not CLIP's learned scale
LOGIT_SCALE = 100.0
#: the batch at which a sum over images and eight times their mean agree
PUBLISHED_BATCH = 8
#: BT.601 weights of red, green and blue in luma
LUMA = (0.299, 0.587, 0.114)


def pair_logits(embeds: Tensor, pair: Tensor) -> Tensor:
    """Scaled cosines (B, 2) of image embeddings with both vectors of a pair."""
    return LOGIT_SCALE * embeds @ F.normalize(pair, dim=-1).t()


def backlit_scores(embeds: Tensor, pair: Tensor) -> Tensor:
    """Probability of the negative vector for each image, (B,) in 0..1."""
    return pair_logits(embeds, pair).softmax(dim=-1)[:, 0]


def pair_guidance_loss(embeds: Tensor, pair: Tensor) -> Tensor:
    """Mean score of enhanced images: what CLIP-LIT's network lowers, a scalar in 0..1."""
    return backlit_scores(embeds, pair).mean()


def residual_guidance_loss(embeds: Tensor, direction: Tensor, threshold: Tensor) -> Tensor:
    """Mean squared distance of the images' cosines from RAVE's threshold along its direction (D,), a scalar."""
    return (embeds @ direction - threshold).square().mean()


def initialization_loss(embeds: Tensor, labels: Tensor, pair: Tensor) -> Tensor:
    """Cross-entropy of a pair that tells backlit (label 0) from well-lit (label 1) images, a scalar."""
    return F.cross_entropy(pair_logits(embeds, pair), labels)


def identity_loss(enhanced: Sequence[Tensor], original: Sequence[Tensor], weights: Sequence[float],
                  reduction: str = "sum") -> Tensor:
    """Weighted mean squared differences of the feature maps of enhanced and original images.

    Args:
        enhanced, original: maps (B, C_l, h_l, w_l) of the same levels.
        weights: of each level.
        reduction: "sum" over the images, as published; "mean" is 8 times the mean, so that both agree at the
            published batch of 8, and results do not depend on the batch.

    Raises:
        ConfigError: another number of weights than of levels, or an unknown reduction.
    """
    if not len(enhanced) == len(original) == len(weights):
        raise ConfigError(f"The identity tower has {len(enhanced)} levels, and there are {len(weights)} stage weights; "
                          "give one for each.")
    if reduction not in ("sum", "mean"):
        raise ConfigError(f"identity_reduction is sum or mean, not {reduction!r}.")
    per_image = sum(weight * (ours.float() - theirs.float()).square().flatten(1).mean(dim=1)
                    for weight, ours, theirs in zip(weights, enhanced, original, strict=True))
    assert isinstance(per_image, Tensor)
    return per_image.sum() if reduction == "sum" else PUBLISHED_BATCH * per_image.mean()


def hinge(higher: Tensor, lower: Tensor, margin: float) -> Tensor:
    """Mean of how far `higher` fails to exceed `lower` by a margin, a scalar."""
    return (margin - (higher - lower)).clamp(min=0).mean()


def rank_loss(scores: Sequence[Tensor], margins: tuple[float, float]) -> Tensor:
    """Asks the scores of groups of images to fall from the first group to the last.

    Args:
        scores: (B,) of the backlit inputs, then of enhanced images from the more to the less backlit group (none, one,
            two, ...), then of the well-lit references.
        margins: from the inputs to the first enhanced group and to the references; between later groups.

    Returns:
        a scalar, not weighted.
    """
    large, small = margins
    inputs, *later = scores
    total = hinge(inputs, later[-1], large)
    if len(later) > 1:
        total = total + hinge(inputs, later[0], large)
        for higher, lower in zip(later, later[1:], strict=False):
            total = total + hinge(higher, lower, small)
    return total


def luma_psnr(images: Tensor, others: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of the lumas of two batches (B, 3, H, W) in 0..1: dB, averaged over the images."""
    weights = images.new_tensor(LUMA).view(1, 3, 1, 1)
    error = ((images - others) * weights).sum(dim=1).square().flatten(1).mean(dim=1)
    return (-10 * torch.log10(error.clamp(min=1e-12))).mean()
