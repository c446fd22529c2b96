"""Sliding-window inference with several windows in one batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor

from clipapps.errors import ConfigError

WINDOWS_AT_ONCE = 4  # 150 classes at 512 x 512: 0.6 GB of logits


def window_starts(side: int, crop: int, stride: int) -> list[int]:
    """First pixels of the windows along one side; the last window is shifted back to fit.

    >>> window_starts(800, 512, 341), window_starts(300, 512, 341)
    ([0, 288], [0])
    """
    count = max(side - crop + stride - 1, 0) // stride + 1
    return [max(min(index * stride + crop, side) - crop, 0) for index in range(count)]


def slide(logits_of: Callable[[Tensor], Tensor], images: Tensor, crop_size: Sequence[int], stride: Sequence[int], *,
          at_once: int = WINDOWS_AT_ONCE, accumulate_on: torch.device | str | None = None) -> Tensor:
    """Average the logits of overlapping windows (DenseCLIP evaluates so; section 4.1).

    Args:
        logits_of: windows (b, 3, h, w) -> logits (b, K, h, w).
        images: (B, 3, H, W); a side smaller than the window is taken as it is.
        crop_size, stride: (height, width) in pixels.
        at_once: windows in one call, of all images together.
        accumulate_on: device of the sums, for example "cpu" for images whose K x H x W logits do not fit on the GPU.

    Returns:
        (B, K, H, W) float32.
    """
    if at_once < 1 or min(stride) < 1 or any(step > side for step, side in zip(stride, crop_size, strict=True)):
        raise ConfigError(f"model.test_cfg: windows of {tuple(crop_size)} every {tuple(stride)} pixels, {at_once} at "
                          "once; the stride must lie between 1 and the window, and at least one window runs at once.")
    (batch, _, *size), (height, width) = images.shape, crop_size
    corners = list(product(window_starts(size[0], height, stride[0]), window_starts(size[1], width, stride[1])))
    places = [(image, y, x) for y, x in corners for image in range(batch)]
    total, count = None, torch.zeros(batch, 1, *size, device=accumulate_on or images.device)
    for start in range(0, len(places), at_once):
        group = places[start:start + at_once]
        windows = torch.stack([images[image, :, y:y + height, x:x + width] for image, y, x in group])
        logits = logits_of(windows).to(count)
        if total is None:
            total = count.new_zeros(batch, logits.shape[1], *size)
        for (image, y, x), window in zip(group, logits, strict=True):
            total[image, :, y:y + height, x:x + width] += window
            count[image, :, y:y + height, x:x + width] += 1
    assert total is not None  # there is at least one window
    return total / count


class BatchedWindows:
    """A base in front of mmseg's `EncoderDecoder` that runs several windows at once.

    `test_cfg` has, besides mmseg's `mode`, `crop_size` and `stride`: `windows_at_once` and `accumulate_on`, see
    `slide`.
    """

    test_cfg: Mapping[str, Any]
    encode_decode: Callable[[Tensor, list[dict]], Tensor]

    def slide_inference(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Normalized images (B, 3, H, W) -> logits (B, K, H, W), the mean of overlapping windows."""
        def logits_of(windows: Tensor) -> Tensor:
            return self.encode_decode(windows, [dict(img_shape=windows.shape[2:])] * len(windows))

        return slide(logits_of, inputs, self.test_cfg["crop_size"], self.test_cfg["stride"],
                     at_once=self.test_cfg.get("windows_at_once", WINDOWS_AT_ONCE),
                     accumulate_on=self.test_cfg.get("accumulate_on"))
