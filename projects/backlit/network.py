"""The enhancement network of CLIP-LIT and RAVE, and the division by its light map (arXiv 2303.17569, section 3).

No down-sampling and no normalization: a photo of any size becomes a map of the same size. Names of the parts are those
of the published weights.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipapps.errors import ConfigError, did_you_mean
from clipapps.registry import MODELS

BINS = (1, 2, 3, 6)
EPSILON = 1e-9
PADDING_MODES = ("zeros", "reflect")
CLAMP_GRADIENTS = ("none", "inward")
#: pixels that wrong values travel inwards from a cut edge: up to the pooling, and after it
HALO_BEFORE_POOLING, HALO_AFTER_POOLING = 5, 12
_SLOPE = 0.2
_STD = 0.02


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions without bias around a shortcut, always reflect-padded; (B, C, H, W) to the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        options = dict(kernel_size=3, padding=1, bias=False, padding_mode="reflect")
        self.conv1 = nn.Conv2d(channels, channels, **options)  # type: ignore[arg-type]
        self.conv2 = nn.Conv2d(channels, channels, **options)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        inner = F.leaky_relu(self.conv1(x), _SLOPE)
        return F.leaky_relu(self.conv2(inner) + x, _SLOPE)


class PyramidPooling(nn.Module):
    """What the whole picture looks like, at every pixel: averages over 1, 4, 9 and 36 cells beside the features.

    Its 3 x 3 convolution is zero-padded always. `pool` and `fuse_with` are the two halves that tiling needs apart.
    """

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        narrow = channels // len(BINS)
        self.features = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(bins), nn.Conv2d(channels, narrow, 1, bias=False), nn.PReLU())
            for bins in BINS)
        self.fuse = nn.Sequential(nn.Conv2d(2 * channels, channels, 3, padding=1, bias=False), nn.PReLU())

    def pool(self, x: Tensor) -> list[Tensor]:
        """(B, C, H, W) -> four maps (B, C/4, b, b)."""
        return [branch(x) for branch in self.features]

    def fuse_with(self, x: Tensor, upsampled: list[Tensor]) -> Tensor:
        """(B, C, H, W) and the four maps at its size -> (B, C, H, W)."""
        return self.fuse(torch.cat([x, *upsampled], dim=1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        size = x.shape[2:]
        return self.fuse_with(x, [F.interpolate(cells, size=size, mode="bilinear", align_corners=True)
                                  for cells in self.pool(x)])


@MODELS.register_module(name="BacklitEnhancementNetwork")
class EnhancementNetwork(nn.Module):
    """RGB photo -> light map, by which the photo is divided (`enhance`).

    278,790 parameters, 277,632 multiply-accumulates a pixel. `padding_mode` may be changed at any time: the published
    weights were trained with "zeros", and their maps are better at the borders with "reflect".

    Args:
        padding_mode: of the four convolutions between the blocks, "zeros" or "reflect".
        start_bias: bias of the last convolution at the start. None: random, as published; then 96 of 200 seeds
            gave a dead network, its map 0 everywhere. 1: every map starts near 1, which changes nothing in a photo.

    Raises:
        ConfigError: another padding mode.

    >>> network = EnhancementNetwork()
    >>> network(torch.rand(2, 3, 20, 30)).shape
    torch.Size([2, 1, 20, 30])
    """

    def __init__(self, padding_mode: str = "reflect", start_bias: float | None = None) -> None:
        super().__init__()
        self.cond1 = nn.Conv2d(3, 32, 3, padding=1)
        self.ResidualBlock1 = ResidualBlock(32)
        self.ResidualBlock2 = ResidualBlock(32)
        self.PPM1 = PyramidPooling(32)
        self.condx = nn.Conv2d(32, 64, 3, padding=1)
        self.ResidualBlock3 = ResidualBlock(64)
        self.ResidualBlock4 = ResidualBlock(64)
        self.condy = nn.Conv2d(64, 32, 3, padding=1)
        self.ResidualBlock5 = ResidualBlock(32)
        self.ResidualBlock6 = ResidualBlock(32)
        self.cond_add1 = nn.Conv2d(32, 1, 3, padding=1)
        self.padding_mode, self.start_bias = padding_mode, start_bias
        self.reset_parameters()

    @property
    def padding_mode(self) -> str:
        """Padding of the convolutions between the blocks: "zeros" or "reflect"."""
        return str(self.cond1.padding_mode)

    @padding_mode.setter
    def padding_mode(self, mode: str) -> None:
        if mode not in PADDING_MODES:
            raise ConfigError(f"padding_mode={mode!r} is unknown.{did_you_mean(str(mode), PADDING_MODES)} "
                              f"Choose one of {', '.join(PADDING_MODES)}.")
        for convolution in (self.cond1, self.condx, self.condy, self.cond_add1):
            convolution.padding_mode = mode  # type: ignore[assignment]

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw new weights from torch's generator: convolutions N(0, 0.02), biases torch's default, slopes 0.25."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                module.reset_parameters()
                module.weight.normal_(0.0, _STD)
            elif isinstance(module, nn.PReLU):
                module.weight.fill_(0.25)
        if self.start_bias is not None:
            self.cond_add1.bias.fill_(self.start_bias)

    def before_pooling(self, images: Tensor) -> Tensor:
        """Photos (B, 3, H, W) -> features (B, 32, H, W)."""
        x = F.leaky_relu(self.cond1(images), _SLOPE)
        return self.ResidualBlock2(self.ResidualBlock1(x))

    def after_pooling(self, features: Tensor) -> Tensor:
        """Features (B, 32, H, W) -> light map (B, 1, H, W), 0 or more."""
        x = self.ResidualBlock4(self.ResidualBlock3(self.condx(features)))
        x = self.ResidualBlock6(self.ResidualBlock5(self.condy(x)))
        return F.relu(self.cond_add1(x))

    def forward(self, images: Tensor) -> Tensor:
        """RGB (B, 3, H, W) in 0..1 -> light map (B, 1, H, W), 0 or more; values above 1 darken."""
        height, width = images.shape[2:]
        if min(height, width) < 2:  # reflection needs two pixels
            images = F.pad(images, (0, 2 - min(width, 2), 0, 2 - min(height, 2)), mode="replicate")
        return self.after_pooling(self.PPM1(self.before_pooling(images)))[:, :, :height, :width]


class _InwardClamp(torch.autograd.Function):
    """Clamp to 0..1 whose gradient also passes where a value lies outside and is asked to come back."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:  # noqa: D102
        ctx.save_for_backward(values)
        return values.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # noqa: D102
        values, = ctx.saved_tensors
        goes_further_out = ((values > 1) & (grad < 0)) | ((values < 0) & (grad > 0))
        return grad.masked_fill(goes_further_out, 0)


def training_layout(device: torch.device) -> torch.memory_format:
    """The memory layout of pictures in which a training step is fastest; the losses do not depend on it.

    Channels last, but for CPUs that have AVX2 and no more: there oneDNN takes five times as long for the gradients of
    these narrow convolutions' weights, and a step of the network twice as long.
    """
    is_avx2 = device.type == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX2"
    return torch.contiguous_format if is_avx2 else torch.channels_last


def enhance(images: Tensor, light_map: Tensor, clamp_gradient: str = "none") -> Tensor:
    """Divide photos (B, 3, H, W) in 0..1 by their light maps (B, 1, H, W); the result is clamped to 0..1.

    The tiny constant changes nothing wherever a map is above 0.01, and keeps a black pixel under a zero map from
    becoming 0/0.

    Args:
        images, light_map: see above.
        clamp_gradient: of values that were clamped. "none": zero, as published; a network whose pictures are white has
            no way back. "inward": it passes where it would bring the value back, and is zero otherwise.

    Raises:
        ConfigError: another `clamp_gradient`.
    """
    if clamp_gradient not in CLAMP_GRADIENTS:
        raise ConfigError(f"clamp_gradient is none or inward, not {clamp_gradient!r}.")
    divided = images / (light_map + EPSILON)
    return _InwardClamp.apply(divided) if clamp_gradient == "inward" else divided.clamp(0, 1)
