"""Videos by frame number and as a stream: decoded right, or one error that names the file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from clipapps.data.video.process import PATIENCE, DecoderLostError, ask
from clipapps.errors import BadSampleError

VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts",
                            ".wmv", ".flv", ".3gp", ".ogv", ".ogg", ".asf", ".mxf"})
MAX_VIDEO_PIXELS = 40_000_000
BACKENDS = ("auto", "decord", "av")


class VideoReader:
    """One video file, decoded in a child process.

    Frames stand upright (the file's rotation is applied), and are numbered in the order of showing, whatever their
    distances in time. Frames that the decoder could not restore in full, and those that depend on them, are an error
    and never shown.

    Args:
        path: a file; recognized by content, not by suffix.
        backend: "auto" decodes with decord and, where that has any complaint, once more with PyAV, which takes AVI
            files at once; "decord" and "av" take one of them alone. Turned frames are always PyAV's.
        patience: seconds without a sign of life after which a decoder counts as hung.
        max_pixels: width times height allowed; read from the header, before anything is decoded.

    Raises:
        BadSampleError: here or when reading: the file is missing, empty, no video, damaged or too large, or a decoder
            crashed or hung over it; the message names file and reason.
        UserError: PyAV or decord2 is not installed.

    >>> def strip(path):
    ...     with VideoReader(path) as video:
    ...         return video.read(np.linspace(0, len(video) - 1, 8).astype(int))  # (8, H, W, 3) uint8 RGB
    """

    def __init__(self, path: str | Path, backend: str = "auto", patience: float = PATIENCE,
                 max_pixels: int = MAX_VIDEO_PIXELS) -> None:
        if backend not in BACKENDS:
            raise ValueError(f"backend is one of {', '.join(BACKENDS)}, not {backend!r}")
        self.path = Path(path)
        self._backend, self._patience, self._max_pixels = backend, patience, max_pixels
        if not self.path.is_file():
            raise BadSampleError(f"There is no file {path}.")
        if not self.path.stat().st_size:
            raise BadSampleError(f"{path} is empty.")

    @cached_property
    def info(self) -> dict[str, Any]:
        """What the header says: `fps`, `width`, `height` (upright), `codec`, `has_audio`, `seconds`."""
        return self._answer("info")

    @property
    def fps(self) -> float:
        """Frames per second on average; 0 where the file does not say."""
        return self.info["fps"]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright frames in pixels."""
        return self.info["width"], self.info["height"]

    @property
    def has_audio(self) -> bool:
        """Whether there is a sound track."""
        return self.info["has_audio"]

    @property
    def duration(self) -> float:
        """Seconds, as the header says; 0 where it does not."""
        return self.info["seconds"]

    @cached_property
    def _length(self) -> int:
        return self._answer("count")

    def __len__(self) -> int:
        """Whole frames in the file, counted; the header is not believed."""
        return self._length

    def read(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Frames by number, in any order and with repeats.

        Args:
            indices: T numbers from 0 to `len(self) - 1`.

        Returns:
            (T, H, W, 3) uint8 RGB.
        """
        numbers = [int(index) for index in indices]
        if not numbers:
            width, height = self.size
            return np.zeros((0, height, width, 3), np.uint8)
        wanted = sorted(set(numbers))  # decoders return wrong frames when they are asked back and forth
        try:
            frames = self._read(wanted, self._backend)
        except DecoderLostError as error:
            if self._backend != "auto":
                raise self._lost(error) from error
            try:
                frames = self._read(wanted, "av")
            except DecoderLostError as second:
                raise self._lost(second) from second
        return np.stack([frames[number] for number in numbers])

    def stream(self, start: float = 0.0, end: float | None = None) -> Iterator[tuple[float, np.ndarray]]:
        """Every frame in order, decoded while they are asked for: a film of any length needs the memory of a few.

        Args:
            start: seconds from the first frame; what is before is decoded and left out.
            end: seconds from the first frame at which to stop; None goes on to the end.

        Yields:
            seconds from the first frame, as the file says, and the frame (H, W, 3) uint8 RGB.
        """
        try:
            for line, frame in ask(self._request("stream", start=float(start), until=end), self._patience):
                assert frame is not None
                yield line["time"], frame
        except DecoderLostError as error:
            raise self._lost(error) from error

    def close(self) -> None:
        """Nothing is held open between calls; here so that readers can be used like files."""

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def _read(self, wanted: list[int], backend: str) -> dict[int, np.ndarray]:
        frames: dict[int, np.ndarray] = {}
        for line, frame in ask(self._request("read", indices=wanted, backend=backend), self._patience):
            assert frame is not None
            frames[line["index"]] = frame
        return frames

    def _answer(self, kind: str) -> Any:
        try:
            [(line, _)] = ask(self._request(kind), self._patience)
        except DecoderLostError as error:
            raise self._lost(error) from error
        return line[kind]

    def _request(self, do: str, **content: Any) -> dict[str, Any]:
        return dict(do=do, path=os.path.abspath(self.path), max_pixels=self._max_pixels, **content)

    def _lost(self, error: DecoderLostError) -> BadSampleError:
        return BadSampleError(f"{self.path} cannot be decoded: the decoder {error}.")


def read_frames(path: str | Path, indices: Sequence[int], **options: Any) -> np.ndarray:
    """Frames of a video by number, (T, H, W, 3) uint8 RGB; `options` are those of `VideoReader`."""
    with VideoReader(path, **options) as video:
        return video.read(indices)
