"""The two frozen CLIP towers that guide the training, behind one resize (CLIP-LIT section 3; nothing here trains)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from clipapps.clip import CLIPBackbone, Features
from clipapps.registry import MODELS

SHORT_SIDE_AND_CROP, SQUASH = "crop", "squash"


def squash(images: Tensor, size: tuple[int, int], *, antialias: bool) -> Tensor:
    """Resize (B, 3, H, W) to a fixed size, bilinear, the aspect ratio not kept; differentiable, no rounding."""
    if tuple(images.shape[2:]) == tuple(size):
        return images
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=antialias)


def short_side_and_crop(images: Tensor, size: tuple[int, int]) -> Tensor:
    """CLIP's own evaluation transform of (B, 3, H, W) in 0..1: bicubic on the short side, and the center of it."""
    height, width = images.shape[2:]
    scale = max(size[0] / height, size[1] / width)
    resized = (max(size[0], round(height * scale)), max(size[1], round(width * scale)))
    if resized != (height, width):
        images = F.interpolate(images, size=resized, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)
    top, left = (resized[0] - size[0]) // 2, (resized[1] - size[1]) // 2
    return images[:, :, top:top + size[0], left:left + size[1]]


class GuidanceTowers:
    """Embeddings from one frozen CLIP, feature maps from another or from the same one.

    They are no submodules of what uses them: not trained, not saved with it, and always in eval mode. `apply_` moves
    them.

    Args:
        clip: a CLIPBackbone or its config; the tower whose joint space guides.
        identity_clip: the tower whose levels (and stem) are compared by the identity loss; None: `clip` itself, which
            then runs once for both.
        antialias: of the resize to the towers' native sizes; the published runs had none.
    """

    def __init__(self, clip: CLIPBackbone | dict[str, Any], identity_clip: CLIPBackbone | dict[str, Any] | None = None,
                 antialias: bool = True) -> None:
        self.clip = _frozen(clip)
        self.identity_clip = self.clip if identity_clip is None else _frozen(identity_clip)
        self.antialias = antialias

    def apply_(self, function: Callable[[Tensor], Tensor]) -> None:
        """Move both towers: called with what a module's own `_apply` is given."""
        for tower in self._distinct():
            tower._apply(function)

    def init_weights(self) -> None:
        """Load CLIP's weights, once."""
        for tower in self._distinct():
            tower.init_weights()

    def _distinct(self) -> list[CLIPBackbone]:
        return [self.clip] if self.identity_clip is self.clip else [self.clip, self.identity_clip]

    def embed(self, images: Tensor, transform: str = SQUASH) -> Tensor:
        """RGB (B, 3, H, W) in 0..1 -> L2-normalized embeddings (B, D); gradients flow to the images.

        Args:
            images: of any size.
            transform: "squash", as in training, or "crop", CLIP's evaluation transform.
        """
        size = self.clip.native_size
        inputs = squash(images, size, antialias=self.antialias) if transform == SQUASH else \
            short_side_and_crop(images, size)
        return unit_embeddings(self.clip(self.clip.normalize(inputs), dense=None))

    def levels(self, images: Tensor) -> list[Tensor]:
        """RGB (B, 3, H, W) in 0..1 -> the maps that the identity loss compares: stem (ResNet), then the levels."""
        tower = self.identity_clip
        inputs = tower.normalize(squash(images, tower.native_size, antialias=self.antialias))
        return feature_maps(tower(inputs, dense=None))

    def embed_and_levels(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """`embed` and `levels` of the same images, with one resize, and one pass where both towers are one."""
        if self.identity_clip is self.clip:
            size = self.clip.native_size
            features = self.clip(self.clip.normalize(squash(images, size, antialias=self.antialias)), dense=None)
            return unit_embeddings(features), feature_maps(features)
        if self.clip.native_size == self.identity_clip.native_size:
            images = squash(images, self.clip.native_size, antialias=self.antialias)
        return self.embed(images), self.levels(images)


def unit_embeddings(features: Features) -> Tensor:
    """L2-normalized embeddings (B, D), float32."""
    assert features.pooled is not None
    return F.normalize(features.pooled.float(), dim=-1)


def feature_maps(features: Features) -> list[Tensor]:
    """The stem's map where there is one, then every level."""
    return [*([] if features.stem is None else [features.stem]), *features.levels]


def _frozen(clip: CLIPBackbone | dict[str, Any]) -> CLIPBackbone:
    backbone: CLIPBackbone = MODELS.build(clip) if isinstance(clip, dict) else clip
    for parameter in backbone.parameters():
        parameter.requires_grad_(False)
    return backbone.eval()


@torch.no_grad()
def embed_all(towers: GuidanceTowers, images: list[Tensor], transform: str) -> Tensor:
    """L2-normalized embeddings (N, D) of N images (3, H, W) in 0..1 of any sizes."""
    return torch.cat([towers.embed(image[None], transform) for image in images])
