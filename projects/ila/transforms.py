"""From a video to a clip: the steps of ILA's pipelines.

All of them work on `frames`, (N, H, W, 3) uint8 RGB with the N frames of all views one after another, and `views`, how
many these are. Whatever is random is drawn once for a clip. Normalization is the data preprocessor's.
"""

from __future__ import annotations

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torchvision.transforms import v2

from clipapps.data.video.pictures import frames_of
from clipapps.data.video.process import PATIENCE
from clipapps.registry import TRANSFORMS

from .preprocessing import IMAGENET_MEAN

Sample = dict[str, Any]


class ClipStep(ABC):
    """A step of a pipeline: a sample in, a sample out; what comes in is not changed."""

    def __call__(self, sample: Sample) -> Sample:
        """The sample after this step."""
        return self._changed(sample)

    @abstractmethod
    def _changed(self, sample: Sample) -> Sample:
        """The sample after this step."""


@TRANSFORMS.register_module()
class LoadClip(ClipStep):
    """Read the frames that a sampler chooses.

    Takes `frames` (T, H, W, 3) where they are there already, else `video_path`: a video, or a folder of pictures.
    Sets `frames`, `views` and `frame_indices`.

    Args:
        sampler: config of a `sampling.FrameSampler`.
        backend, patience: of `clipapps.data.video.VideoReader`.

    Raises:
        BadSampleError: the video cannot be used.
    """

    def __init__(self, sampler: Mapping[str, Any], backend: str = "auto", patience: float = PATIENCE) -> None:
        self.sampler, self.options = TRANSFORMS.build(dict(sampler)), dict(backend=backend, patience=patience)

    def _changed(self, sample: Sample) -> Sample:
        source = frames_of(sample["frames"] if "frames" in sample else sample["video_path"], **self.options)
        indices = self.sampler(len(source))
        frames = source.read(indices.reshape(-1))
        return {**sample, "frames": frames, "views": len(indices), "frame_indices": indices}


@TRANSFORMS.register_module()
class ResizeShortSide(ClipStep):
    """Scale to a short side of `size` pixels; OpenCV's bilinear interpolation without smoothing, as released."""

    def __init__(self, size: int) -> None:
        self.size = size

    def _changed(self, sample: Sample) -> Sample:
        height, width = sample["frames"].shape[1:3]
        scale = self.size / min(height, width)
        return {**sample, "frames": resized(sample["frames"], int(height * scale + 0.5), int(width * scale + 0.5))}


@TRANSFORMS.register_module()
class CropCenter(ClipStep):
    """The square of `size` pixels in the middle."""

    def __init__(self, size: int) -> None:
        self.size = size

    def _changed(self, sample: Sample) -> Sample:
        top, left = ((side - self.size) // 2 for side in sample["frames"].shape[1:3])
        return {**sample, "frames": cropped(sample["frames"], top, left, self.size, self.size)}


@TRANSFORMS.register_module()
class CropThree(ClipStep):
    """Three squares along the long side: left or top, right or bottom, middle; each becomes a view of its own.

    Their order is that of the released code: all views of the first crop, then of the second, then of the third.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def _changed(self, sample: Sample) -> Sample:
        height, width = sample["frames"].shape[1:3]
        step = (max(height, width) - self.size) // 2
        crops = [cropped(sample["frames"], offset if height > width else 0, 0 if height > width else offset, self.size,
                         self.size) for offset in (0, 2 * step, step)]
        return {**sample, "frames": np.concatenate(crops), "views": 3 * sample["views"]}


@TRANSFORMS.register_module()
class CropMultiScale(ClipStep):
    """A random crop of one of several sizes at a corner or in the middle, scaled to a square (aspect is not kept).

    Args:
        size: side of the result in pixels.
        scales: of the crop's sides, as shares of the short side; width and height may differ by `max_gap` places.
    """

    def __init__(self, size: int, scales: Sequence[float] = (1, 0.875, 0.75, 0.66), max_gap: int = 1) -> None:
        self.size, self.scales, self.max_gap = size, tuple(scales), max_gap

    def _changed(self, sample: Sample) -> Sample:
        height, width = sample["frames"].shape[1:3]
        sides = [int(min(height, width) * scale) for scale in self.scales]
        sides = [self.size if abs(side - self.size) < 3 else side for side in sides]
        crop_height, crop_width = random.choice([
            (high, wide) for row, high in enumerate(sides) for column, wide in enumerate(sides)
            if abs(row - column) <= self.max_gap])
        step_y, step_x = (height - crop_height) // 4, (width - crop_width) // 4
        y, x = random.choice(((0, 0), (0, 4), (4, 0), (4, 4), (2, 2)))
        frames = cropped(sample["frames"], y * step_y, x * step_x, crop_height, crop_width)
        return {**sample, "frames": resized(frames, self.size, self.size)}


@TRANSFORMS.register_module()
class FlipClip(ClipStep):
    """Mirror the clip left to right. ILA's recipes do not: many actions have a direction."""

    def __init__(self, probability: float = 0.5) -> None:
        self.probability = probability

    def _changed(self, sample: Sample) -> Sample:
        if random.random() < self.probability:
            sample = {**sample, "frames": sample["frames"][:, :, ::-1]}
        return sample


@TRANSFORMS.register_module()
class JitterColors(ClipStep):
    """Change brightness, contrast, saturation and hue at random, in random order.

    Args:
        probability: that the clip is changed at all.
        brightness, contrast, saturation: a factor is drawn from 1 - value to 1 + value.
        hue: a share of the color circle is drawn from -value to value; at most 0.5.
        per_frame: draw anew for every frame, as the released code does; the colors flicker.
    """

    def __init__(self, probability: float = 0.8, brightness: float = 0.4, contrast: float = 0.4,
                 saturation: float = 0.2, hue: float = 0.1, per_frame: bool = False) -> None:
        self.probability, self.per_frame = probability, per_frame
        self.ranges = dict(brightness=brightness, contrast=contrast, saturation=saturation, hue=hue)

    def _changed(self, sample: Sample) -> Sample:
        if random.random() >= self.probability:
            return sample
        frames = sample["frames"]
        parts = [frames[number:number + 1] for number in range(len(frames))] if self.per_frame else [frames]
        return {**sample, "frames": np.concatenate([self._jittered(part) for part in parts])}

    def _jittered(self, frames: np.ndarray) -> np.ndarray:
        for name in random.sample(list(self.ranges), len(self.ranges)):
            amount = random.uniform(-self.ranges[name], self.ranges[name])
            if name == "hue":
                frames = with_hue_shifted(frames, amount)
            elif amount:
                change = getattr(v2.functional, f"adjust_{name}")
                frames = as_frames(change(as_tensor(frames), max(0.0, 1 + amount)))
        return frames


@TRANSFORMS.register_module()
class GrayClip(ClipStep):
    """Take the color away from all frames, with a probability."""

    def __init__(self, probability: float = 0.2) -> None:
        self.probability = probability

    def _changed(self, sample: Sample) -> Sample:
        if random.random() < self.probability:
            gray = v2.functional.rgb_to_grayscale(as_tensor(sample["frames"]), num_output_channels=3)
            sample = {**sample, "frames": as_frames(gray)}
        return sample


@TRANSFORMS.register_module()
class RandAugmentClip(ClipStep):
    """RandAugment: a few random operations, the same for all frames. No recipe of ILA uses it.

    Args:
        operations: how many; magnitude: 0 to 30, how strong.
    """

    def __init__(self, operations: int = 2, magnitude: int = 9) -> None:
        self.augment = v2.RandAugment(operations, magnitude)

    def _changed(self, sample: Sample) -> Sample:
        return {**sample, "frames": as_frames(self.augment(as_tensor(sample["frames"])))}


@TRANSFORMS.register_module()
class EraseBox(ClipStep):
    """Fill one random box, the same in all frames, with the mean color.

    Args:
        probability: that there is a box.
        area: least and largest share of the picture; aspect: least and largest height over width.
        tries: how often a box that does not fit is drawn again.
        color: RGB, 0..1; the mean of the data preprocessor, so that it becomes 0 there.
    """

    def __init__(self, probability: float = 0.25, area: tuple[float, float] = (0.02, 1 / 3),
                 aspect: tuple[float, float] = (0.3, 3.33), tries: int = 10,
                 color: Sequence[float] = IMAGENET_MEAN) -> None:
        self.probability, self.area, self.aspect, self.tries = probability, area, aspect, tries
        self.color = np.rint(255 * np.asarray(color)).astype(np.uint8)

    def _changed(self, sample: Sample) -> Sample:
        height, width = sample["frames"].shape[1:3]
        if random.random() >= self.probability:
            return sample
        for _ in range(self.tries):
            area = random.uniform(*self.area) * height * width
            aspect = math.exp(random.uniform(*map(math.log, self.aspect)))
            high, wide = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if high < height and wide < width:
                top, left = random.randint(0, height - high), random.randint(0, width - wide)
                frames = sample["frames"].copy()
                frames[:, top:top + high, left:left + wide] = self.color
                return {**sample, "frames": frames}
        return sample


@TRANSFORMS.register_module()
class PackClip(ClipStep):
    """The sample as models take it: `inputs` (T, 3, H, W) uint8, or (V, T, 3, H, W) for several views.

    Args:
        keys: entries that go along; those that the sample lacks are left out.
        keep_views: (1, T, 3, H, W) for a single view, too.
    """

    def __init__(self, keys: Sequence[str] = ("label", "index", "sample_idx", "video_path"),
                 keep_views: bool = False) -> None:
        self.keys, self.keep_views = tuple(keys), keep_views

    def _changed(self, sample: Sample) -> Sample:
        clips = as_tensor(sample["frames"]).unflatten(0, (sample["views"], -1))
        if sample["views"] == 1 and not self.keep_views:
            clips = clips[0]
        return dict(inputs=clips, **{key: sample[key] for key in self.keys if key in sample})


def with_hue_shifted(frames: np.ndarray, share: float) -> np.ndarray:
    """Colors (N, H, W, 3) uint8 moved around the color circle; with 8 bits of hue, ten times as fast as with floats."""
    steps = round(255 * share) % 256
    if not steps:
        return frames
    flat = np.ascontiguousarray(frames).reshape(-1, frames.shape[2], 3)
    shifted = cv2.cvtColor(flat, cv2.COLOR_RGB2HSV_FULL)
    shifted[..., 0] += np.uint8(steps)  # wraps
    return cv2.cvtColor(shifted, cv2.COLOR_HSV2RGB_FULL).reshape(frames.shape)


def resized(frames: np.ndarray, height: int, width: int) -> np.ndarray:
    """Frames (N, H, W, 3) uint8 at another size."""
    return np.stack([cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR) for frame in frames])


def cropped(frames: np.ndarray, top: int, left: int, height: int, width: int) -> np.ndarray:
    """A part of all frames (N, H, W, 3)."""
    return frames[:, top:top + height, left:left + width]


def as_tensor(frames: np.ndarray) -> torch.Tensor:
    """(N, H, W, 3) -> (N, 3, H, W), contiguous."""
    return torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2)))


def as_frames(clip: torch.Tensor) -> np.ndarray:
    """(N, 3, H, W) -> (N, H, W, 3)."""
    return clip.numpy().transpose(0, 2, 3, 1)
