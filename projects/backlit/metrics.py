"""How near enhanced photos come to their targets, and what enhancement does to brightness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from mmengine.evaluator import BaseMetric
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from clipapps.errors import ConfigError
from clipapps.registry import METRICS

PROTOCOLS = ("standard", "rave")


def quality(enhanced: np.ndarray, target: np.ndarray, protocol: str = "standard") -> tuple[float, float]:
    """PSNR in dB and SSIM (0..1) of two photos (H, W, 3) uint8 RGB.

    Args:
        enhanced, target: of one size, at least 7 pixels on either side.
        protocol: "standard": RGB, range 255, SSIM in 7 x 7 windows. "rave": the published script's figures, on gray
            images whose red and blue weights are swapped, SSIM over the range of the enhanced one.

    Raises:
        ConfigError: unknown protocol.
    """
    if protocol not in PROTOCOLS:
        raise ConfigError(f"protocol is standard or rave, not {protocol!r}.")
    if protocol == "standard":
        return (_psnr(target, enhanced),
                float(structural_similarity(target, enhanced, channel_axis=2, data_range=255)))
    target, enhanced = (cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in (target, enhanced))
    value_range = int(enhanced.max()) - int(enhanced.min())
    return (_psnr(target, enhanced), float(structural_similarity(target, enhanced, data_range=value_range)))


def _psnr(target: np.ndarray, image: np.ndarray) -> float:
    """PSNR in dB; equal images have 100 instead of infinity, so that means stay numbers."""
    if np.array_equal(target, image):
        return 100.0
    return float(peak_signal_noise_ratio(target, image, data_range=255))


@METRICS.register_module()
class BacklitQuality(BaseMetric):
    """Means over the test photos.

    With targets: `PSNR` (dB) and `SSIM` (0..1) of the enhanced photos, `input_PSNR` and `input_SSIM` of the photos as
    they were. Always: `luminance` and `input_luminance` (mean BT.601 luma, 0..1) and `clipped` (share of the values
    that reached 255 and had not been there before).

    Args:
        protocol: see `quality`.
    """

    default_prefix = ""  # names as they are; None would only make mmengine warn

    def __init__(self, protocol: str = "standard", collect_device: str = "cpu", prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.protocol = protocol

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Score each photo."""
        for sample in data_samples:
            before, after = as_picture(sample["inputs"]), as_picture(sample["enhanced"])
            found = {}
            if "target" in sample:
                target = as_picture(sample["target"])
                found["PSNR"], found["SSIM"] = quality(after, target, self.protocol)
                found["input_PSNR"], found["input_SSIM"] = quality(before, target, self.protocol)
            found["luminance"], found["input_luminance"] = luminance(after), luminance(before)
            found["clipped"] = float(((after == 255) & (before < 255)).mean())
            self.results.append(found)

    def compute_metrics(self, results: list[dict[str, float]]) -> dict[str, float]:
        """Means over the photos that have the figure."""
        names = dict.fromkeys(name for found in results for name in found)
        return {name: float(np.mean([found[name] for found in results if name in found])) for name in names}


def luminance(image: np.ndarray) -> float:
    """Mean BT.601 luma of (H, W, 3) uint8 RGB, 0..1."""
    return float((image.reshape(-1, 3).mean(axis=0) @ np.array([0.299, 0.587, 0.114])) / 255)


def as_picture(image: Tensor) -> np.ndarray:
    """(3, H, W) uint8 -> (H, W, 3)."""
    return image.detach().cpu().numpy().transpose(1, 2, 0)
