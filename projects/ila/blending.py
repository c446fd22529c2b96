"""Batch blending: mixup and cutmix of whole clips, with the labels blended alike."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from clipapps.registry import TRANSFORMS

Box = tuple[int, int, int, int]


@TRANSFORMS.register_module()
class MixupCutmix:
    """Blends every training batch with a permutation of itself: by cutmix or by mixup, one draw a batch.

    Args:
        num_classes: K.
        smoothing: share of each label's mass that is spread evenly over all classes.
        mixup_alpha, cutmix_alpha: both parameters of the Beta distribution of the weight; 0 leaves that kind out.
        switch_probability: of cutmix, where both are in.

    >>> clips, targets = MixupCutmix(num_classes=5)(torch.rand(4, 2, 3, 8, 8), torch.arange(4))
    >>> clips.shape, targets.shape, bool((targets.sum(dim=1) - 1).abs().max() < 1e-6)
    (torch.Size([4, 2, 3, 8, 8]), torch.Size([4, 5]), True)
    """

    def __init__(self, num_classes: int, smoothing: float = 0.1, mixup_alpha: float = 0.8, cutmix_alpha: float = 1.0,
                 switch_probability: float = 0.5) -> None:
        self.num_classes, self.smoothing = num_classes, smoothing
        self.mixup_alpha, self.cutmix_alpha, self.switch_probability = mixup_alpha, cutmix_alpha, switch_probability

    def __call__(self, clips: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Clips (B, T, 3, H, W) and labels (B,) -> blended clips and targets (B, K)."""
        targets = smoothed(labels, self.num_classes, self.smoothing)
        order = torch.randperm(len(clips)).to(clips.device)
        if self.cutmix_alpha and (not self.mixup_alpha or np.random.rand() < self.switch_probability):
            weight = np.random.beta(self.cutmix_alpha, self.cutmix_alpha)
            return cutmix(clips, targets, order, random_box(clips.shape[-2], clips.shape[-1], weight))
        if self.mixup_alpha:
            return mixup(clips, targets, order, np.random.beta(self.mixup_alpha, self.mixup_alpha))
        return clips, targets


def smoothed(labels: Tensor, num_classes: int, smoothing: float) -> Tensor:
    """Labels (B,) -> distributions (B, K): smoothing / K everywhere, and the rest at the label."""
    return F.one_hot(labels, num_classes).float() * (1 - smoothing) + smoothing / num_classes


def mixup(clips: Tensor, targets: Tensor, order: Tensor, weight: float) -> tuple[Tensor, Tensor]:
    """`weight` of each clip and target plus the rest of the one that `order` (B,) puts in its place."""
    return (weight * clips + (1 - weight) * clips[order], weight * targets + (1 - weight) * targets[order])


def cutmix(clips: Tensor, targets: Tensor, order: Tensor, box: Box) -> tuple[Tensor, Tensor]:
    """The box of each clip, in all of its frames, comes from the clip in its place; targets by the box's true area.

    Args:
        clips: (B, T, 3, H, W); targets: (B, K); order: (B,).
        box: left, top, right, bottom in pixels; right and bottom exclusive.
    """
    left, top, right, bottom = box
    clips = clips.clone()
    clips[..., top:bottom, left:right] = clips[order][..., top:bottom, left:right]
    weight = 1 - (right - left) * (bottom - top) / (clips.shape[-1] * clips.shape[-2])
    return clips, weight * targets + (1 - weight) * targets[order]


def random_box(height: int, width: int, weight: float) -> Box:
    """A box of about `1 - weight` of the area around a random pixel, cut off at the picture's edges."""
    share = math.sqrt(1 - weight)
    half_width, half_height = int(width * share) // 2, int(height * share) // 2
    x, y = np.random.randint(width), np.random.randint(height)
    return (max(x - half_width, 0), max(y - half_height, 0), min(x + half_width, width), min(y + half_height, height))
