"""Anything that has frames, behind one interface: a video file, a folder or list of pictures, an array."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from clipapps.data.images import IMAGE_SUFFIXES, read_image
from clipapps.data.video.reader import VideoReader
from clipapps.errors import BadSampleError


class Frames(Protocol):
    """Numbered frames."""

    def __len__(self) -> int:
        """How many."""

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Some of them, (T, H, W, 3) uint8 RGB."""


class PictureFrames:
    """Pictures of one size, each a frame.

    Args:
        files: their paths, in order.
    """

    def __init__(self, files: Sequence[Any]) -> None:
        self.files = list(files)
        if not self.files:
            raise BadSampleError("A video as a list of pictures needs at least one.")

    def __len__(self) -> int:
        return len(self.files)

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Some of them, (T, H, W, 3) uint8 RGB; raises BadSampleError where one is damaged or of another size."""
        wanted = sorted({int(index) for index in indices})
        pictures = {index: read_image(self.files[index]) for index in wanted}
        if len({picture.shape for picture in pictures.values()}) > 1:
            shapes = sorted({f"{picture.shape[1]} x {picture.shape[0]}" for picture in pictures.values()})
            raise BadSampleError(f"{Path(self.files[0]).parent} holds pictures of several sizes: {', '.join(shapes)}.")
        return np.stack([pictures[int(index)] for index in indices])


class ArrayFrames:
    """Frames in memory: (T, H, W, 3) uint8 RGB."""

    def __init__(self, frames: np.ndarray) -> None:
        if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8 or not len(frames):
            raise BadSampleError(f"Frames must be (T, H, W, 3) of type uint8, not {frames.shape} of {frames.dtype}.")
        self.frames = frames

    def __len__(self) -> int:
        return len(self.frames)

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Some of them."""
        return self.frames[np.asarray(indices, dtype=int)]


def frames_of(source: Any, **options: Any) -> Frames:
    """The frames of a video file, of a folder or list of pictures, or of an array (T, H, W, 3) uint8 RGB.

    Args:
        source: pictures of a folder are sorted by name, with numbers in their order ("2.jpg" before "10.jpg").
        options: of `VideoReader`, for a file.

    Raises:
        BadSampleError: there are no frames.
    """
    if isinstance(source, np.ndarray):
        return ArrayFrames(source)
    if not isinstance(source, (str, os.PathLike)):
        return PictureFrames(source)
    if Path(source).is_dir():
        files = sorted((file for file in Path(source).iterdir() if file.suffix.lower() in IMAGE_SUFFIXES),
                       key=_by_number)
        if not files:
            raise BadSampleError(f"The folder {source} holds no pictures.")
        return PictureFrames(files)
    return VideoReader(Path(source), **options)


def _by_number(file: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", file.name)]
