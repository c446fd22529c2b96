"""From the single-scale maps of a ViT to the four strides that a feature pyramid expects (DenseCLIP, section 4.1)."""

from __future__ import annotations

from mmcv.cnn import build_norm_layer
from torch import Tensor, nn

from clipapps.errors import ConfigError
from clipapps.registry import MODELS


@MODELS.register_module(name="DenseCLIPViTPyramid")
class ViTPyramid(nn.Module):
    """Rescale four ViT maps to strides 4, 8, 16 and 32; each begins with a one-group GroupNorm.

    Args:
        channels: tower width C.
        patch_size: 16, 14 or 8, the stride of the incoming maps; the strides for 14 are 3.5, 7, 14 and 28.
        norm_cfg: normalization between the two deconvolutions; BN on one device, SyncBN on several GPUs.

    >>> pyramid = ViTPyramid(channels=32)
    >>> [tuple(level.shape[-2:]) for level in pyramid([torch.rand(2, 32, 6, 5)] * 4)]
    [(24, 20), (12, 10), (6, 5), (3, 2)]
    """

    def __init__(self, channels: int, patch_size: int = 16, norm_cfg: dict | None = None) -> None:
        super().__init__()
        norm_cfg = norm_cfg or dict(type=nn.BatchNorm2d)
        self.fpn2: nn.Module
        self.fpn3: nn.Module
        if patch_size in (14, 16):
            self.fpn1 = nn.Sequential(
                nn.GroupNorm(1, channels), _upsample(channels), build_norm_layer(norm_cfg, channels)[1], nn.GELU(),
                _upsample(channels))
            self.fpn2 = nn.Sequential(nn.GroupNorm(1, channels), _upsample(channels))
            self.fpn3 = nn.GroupNorm(1, channels)
            self.fpn4 = nn.Sequential(nn.GroupNorm(1, channels), nn.MaxPool2d(2, 2))
        elif patch_size == 8:
            self.fpn1 = nn.Sequential(nn.GroupNorm(1, channels), _upsample(channels))
            self.fpn2 = nn.GroupNorm(1, channels)
            self.fpn3 = nn.Sequential(nn.GroupNorm(1, channels), nn.MaxPool2d(2, 2))
            self.fpn4 = nn.Sequential(nn.GroupNorm(1, channels), nn.MaxPool2d(4, 4))
        else:
            raise ConfigError(f"ViTPyramid: patch_size {patch_size} is not supported; 8, 14 and 16 are.")

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        """Four maps (B, C, h, w) of stride p -> four maps (B, C, ., .) of strides 4, 8, 16, 32 (odd sizes floor)."""
        stages = (self.fpn1, self.fpn2, self.fpn3, self.fpn4)
        return [stage(level) for stage, level in zip(stages, levels, strict=True)]


def _upsample(channels: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels, channels, kernel_size=2, stride=2)
