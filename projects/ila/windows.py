"""A video of any length as windows of a few seconds, each as the frames that a model reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from clipapps.data.video import VideoReader
from clipapps.errors import BadSampleError
from clipapps.projects.ila.sampling import SegmentSampler

TimedFrames = Iterable[tuple[float, np.ndarray]]
RESIZE_MARGIN = 256 / 224  # of the short side over the crop in the published evaluation


@dataclass(frozen=True)
class Window:
    """Some seconds of a video.

    Args:
        start, end: seconds.
        frames: the sampled ones, (T, S, S, 3) uint8 RGB. times: seconds of each.
    """

    start: float
    end: float
    frames: np.ndarray
    times: tuple[float, ...]


def cut_windows(frames: TimedFrames, seconds: float, num_frames: int, side: int,
                margin: float = RESIZE_MARGIN) -> Iterator[Window]:
    """Windows of a stream of (second, frame) pairs, one after the other; at most one is held in memory.

    Args:
        seconds: length of a window; what is left at the end is a shorter one.
        num_frames: T frames are taken from each, from the middles of T equal parts.
        side: S, of the central square that is kept; margin: size of the short side over S before that.
    """
    held: list[tuple[float, np.ndarray]] = []
    for time, frame in frames:
        if held and time >= held[0][0] + seconds:
            yield _window(held, num_frames, time)
            held = []
        held.append((time, central_square(frame, side, margin)))
    if held:
        step = held[-1][0] - held[-2][0] if len(held) > 1 else 0.0
        yield _window(held, num_frames, held[-1][0] + step)


def _window(held: list[tuple[float, np.ndarray]], num_frames: int, end: float) -> Window:
    chosen = [held[index] for index in SegmentSampler(num_frames, random=False)(len(held))[0]]
    return Window(held[0][0], end, np.stack([frame for _, frame in chosen]), tuple(time for time, _ in chosen))


def central_square(frame: np.ndarray, side: int, margin: float = RESIZE_MARGIN) -> np.ndarray:
    """Scale a frame (H, W, 3) to a short side of `margin * side`, keep its central (side, side)."""
    short = int(margin * side)
    scale = short / min(frame.shape[:2])
    height, width = (max(short, int(length * scale + 0.5)) for length in frame.shape[:2])
    scaled = frame if (height, width) == frame.shape[:2] else cv2.resize(frame, (width, height))
    top, left = (height - side) // 2, (width - side) // 2
    return np.ascontiguousarray(scaled[top:top + side, left:left + side])


def film_frames(path: str | Path) -> TimedFrames:
    """Every frame of a file with its second; raises BadSampleError for a file that is no whole video."""
    with VideoReader(path) as video:
        yield from video.stream()


def array_frames(frames: np.ndarray, fps: float = 25.0) -> TimedFrames:
    """Frames (N, H, W, 3) as if shown at this rate."""
    for index, frame in enumerate(frames):
        yield index / fps, frame


def camera_frames(number: int) -> TimedFrames:
    """Frames of a camera, for ever, as long as somebody asks for them; raises BadSampleError when there is none."""
    camera = cv2.VideoCapture(number)
    try:
        if not camera.isOpened():
            raise BadSampleError(f"There is no camera {number}, or another program uses it.")
        ticks = cv2.getTickFrequency()
        start = cv2.getTickCount()
        while True:
            is_read, frame = camera.read()
            if not is_read:
                raise BadSampleError(f"Camera {number} sends no more frames.")
            yield (cv2.getTickCount() - start) / ticks, np.ascontiguousarray(frame[..., ::-1])
    finally:
        camera.release()
