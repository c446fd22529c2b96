"""Region heads: what is in a proposal, where exactly, and which of its pixels (Mask R-CNN, section 3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn
from torchvision.ops import roi_align

from clipapps.registry import MODELS


@MODELS.register_module(name="DenseCLIPRegionAlign")
class RegionAlign(nn.Module):
    """Features of regions, each from the level that fits its size (FPN, equation 1; Mask R-CNN's RoIAlign).

    Args:
        size: of the output; 7 for boxes, 14 for masks.
        strides: pixels per cell of the levels that are used.
        finest_scale: regions whose side (the root of their area) is below twice this come from the first level, below
            four times this from the second, and so on.

    >>> align = RegionAlign(7, strides=(4, 8))
    >>> align([torch.rand(1, 8, 16, 16), torch.rand(1, 8, 8, 8)], torch.tensor([[0.0, 0, 0, 20, 30]])).shape
    torch.Size([1, 8, 7, 7])
    """

    def __init__(self, size: int, strides: Sequence[int] = (4, 8, 16, 32), finest_scale: float = 56.0) -> None:
        super().__init__()
        self.size, self.strides, self.finest_scale = size, tuple(strides), finest_scale

    def levels_of(self, boxes: Tensor) -> Tensor:
        """Index of the level of each box (R, 4), (R,)."""
        side = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).clamp(min=0).sqrt()
        return (side / self.finest_scale + 1e-6).log2().floor().clamp(0, len(self.strides) - 1).long()

    def forward(self, maps: Sequence[Tensor], regions: Tensor) -> Tensor:
        """Maps (B, C, h, w) of each level and regions (R, 5), index of the image and box -> (R, C, size, size)."""
        levels = self.levels_of(regions[:, 1:])
        features = maps[0].new_zeros(len(regions), maps[0].shape[1], self.size, self.size, dtype=torch.float32)
        for index, stride in enumerate(self.strides):
            chosen = (levels == index).nonzero().flatten()
            found = roi_align(maps[index].float(), regions[chosen], self.size, 1 / stride, 0, aligned=True)
            features = features.index_copy(0, chosen, found)
        return features


@MODELS.register_module(name="DenseCLIPBoxHead")
class BoxHead(nn.Module):
    """Two shared layers, then K + 1 logits, of which the last is the background's, and four offsets for each class.

    Args:
        num_classes: classes K.
        in_channels: of the features.
        size: of the features.
        fc_channels: width of the layers.
        released_init: begin with PyTorch's default weights, as the released training ran.

    >>> logits, offsets = BoxHead(num_classes=3, in_channels=8, fc_channels=16)(torch.rand(5, 8, 7, 7))
    >>> tuple(logits.shape), tuple(offsets.shape)
    ((5, 4), (5, 12))
    """

    def __init__(self, num_classes: int, in_channels: int, size: int = 7, fc_channels: int = 1024,
                 released_init: bool = False) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.shared_fcs = nn.ModuleList([nn.Linear(in_channels * size * size, fc_channels),
                                         nn.Linear(fc_channels, fc_channels)])
        self.fc_cls = nn.Linear(fc_channels, num_classes + 1)
        self.fc_reg = nn.Linear(fc_channels, num_classes * 4)
        if not released_init:
            self._init_weights()

    def _init_weights(self) -> None:
        for name, weight in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(weight)
            elif name.startswith("shared_fcs"):
                nn.init.xavier_uniform_(weight)
            else:
                nn.init.normal_(weight, std=0.01 if name.startswith("fc_cls") else 0.001)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features (R, C, size, size) -> logits (R, K + 1) and offsets (R, K * 4)."""
        hidden = features.flatten(1)
        for layer in self.shared_fcs:
            hidden = F.relu(layer(hidden))
        return self.fc_cls(hidden), self.fc_reg(hidden)


@MODELS.register_module(name="DenseCLIPMaskHead")
class MaskHead(nn.Module):
    """A few convolutions and one that doubles the size, then one mask for each class.

    Args:
        num_classes: classes K.
        in_channels: of the features.
        num_convs: convolutions before the doubling.
        conv_channels: their width.
        released_init: begin the last two layers with PyTorch's default weights, as the released training ran.

    >>> MaskHead(num_classes=3, in_channels=8, num_convs=1, conv_channels=8)(torch.rand(5, 8, 14, 14)).shape
    torch.Size([5, 3, 28, 28])
    """

    def __init__(self, num_classes: int, in_channels: int, num_convs: int = 4, conv_channels: int = 256,
                 released_init: bool = False) -> None:
        super().__init__()
        widths = [in_channels, *[conv_channels] * (num_convs - 1)]
        self.convs = nn.ModuleList(ConvModule(width, conv_channels, 3, padding=1) for width in widths)
        self.upsample = nn.ConvTranspose2d(conv_channels, conv_channels, 2, stride=2)
        self.conv_logits = nn.Conv2d(conv_channels, num_classes, 1)
        for layer in () if released_init else (self.upsample, self.conv_logits):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.constant_(layer.bias, 0.0)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """Features (R, C, m, m) -> logits (R, K, 2m, 2m)."""
        for layer in self.convs:
            features = layer(features)
        return self.conv_logits(F.relu(self.upsample(features)))
