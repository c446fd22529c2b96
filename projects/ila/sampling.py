"""Which frames of a video are looked at: a number of frames in, indices (views, T) out.

Random samplers draw from python's and numpy's own generators, which a data loader seeds for each sample.
"""

from __future__ import annotations

import random
from typing import Protocol

import numpy as np

from clipapps.registry import TRANSFORMS


class FrameSampler(Protocol):
    """Chooses frames: (number of frames) -> (views, T) integers."""

    def __call__(self, length: int) -> np.ndarray:
        """Numbers from 0 to `length - 1`."""


@TRANSFORMS.register_module()
class SegmentSampler:
    """One frame out of each of T segments of equal length, whose ends are shared: the recipe of training.

    A video with fewer than T frames repeats some.

    Args:
        frames: T.
        random: one frame at random out of each segment (training); False takes its middle (validation with one view).

    >>> SegmentSampler(frames=4, random=False)(100).tolist()
    [[12, 37, 62, 86]]
    """

    def __init__(self, frames: int, random: bool = True) -> None:
        self.frames, self.is_random = frames, random

    def segments(self, length: int) -> list[tuple[int, int]]:
        """First and last frame of each segment, both in it."""
        ends = np.around((length - 1) / self.frames * np.arange(self.frames + 1)).astype(int).tolist()
        return list(zip(ends[:-1], ends[1:], strict=True))

    def __call__(self, length: int) -> np.ndarray:
        """Indices (views, T)."""
        if self.is_random:
            return np.array([[random.randint(*segment) for segment in self.segments(length)]])
        return np.array([[(first + last) // 2 for first, last in self.segments(length)]])


@TRANSFORMS.register_module()
class ViewSampler:
    """Several views, each with one frame out of every T-th part of the video: the test with many views.

    Args:
        frames: T.
        views: how many.
        random: draw each frame at random, as the published figures were made, so that they change from run to run;
            False takes place `(v + 1/2) / views` of each part for view v.

    >>> ViewSampler(frames=4, views=2)(40).tolist()
    [[2, 12, 22, 32], [7, 17, 27, 37]]
    """

    def __init__(self, frames: int, views: int = 4, random: bool = False) -> None:
        self.frames, self.views, self.is_random = frames, views, random

    def __call__(self, length: int) -> np.ndarray:
        """Indices (views, T)."""
        part = length // self.frames
        if not part:  # too short: frames repeat, and all views are alike
            spread = np.around(np.arange(self.frames) * length / self.frames).astype(int)
            # The published sampler lets the last one wrap to the first frame.
            spread = spread % length if self.is_random else np.minimum(spread, length - 1)
            return np.tile(spread, (self.views, 1))
        starts = np.arange(self.frames) * part
        if self.is_random:
            return np.stack([starts + np.random.randint(part, size=self.frames) for _ in range(self.views)])
        return np.stack([starts + int((view + 0.5) * part / self.views) for view in range(self.views)])


@TRANSFORMS.register_module()
class CenterSampler:
    """The middle frame of each of T parts of equal length, which do not overlap (TSN).

    >>> CenterSampler(frames=4)(100).tolist()
    [[12, 37, 62, 87]]
    """

    def __init__(self, frames: int) -> None:
        self.frames = frames

    def __call__(self, length: int) -> np.ndarray:
        """Indices (views, T)."""
        return ((np.arange(self.frames) + 0.5) * length / self.frames).astype(int)[None]


@TRANSFORMS.register_module()
class DenseSampler:
    """T frames at a fixed distance from the middle of the video; at its end it begins again.

    Args:
        frames: T; interval: distance in frames.

    >>> DenseSampler(frames=4)(9).tolist()
    [[1, 3, 5, 7]]
    """

    def __init__(self, frames: int, interval: int = 2) -> None:
        self.frames, self.interval = frames, interval

    def __call__(self, length: int) -> np.ndarray:
        """Indices (views, T)."""
        start = max(length - self.frames * self.interval + 1, 0) // 2
        return ((start + self.interval * np.arange(self.frames)) % length)[None]
