"""A video file with other pictures: times, sound, shape of pixels and texts are those of the original."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from clipapps.errors import BadSampleError, DiskError

#: containers that are kept; the sound of others may not fit into MP4 and then goes into Matroska, which takes any
_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
_MP4_SOUND = {"aac", "mp3", "mp2", "ac3", "eac3", "opus", "flac", "alac"}
_QUALITY = "17"  # constant rate factor of H.264: what is lost is not seen
_PIXELS = "yuv420p"  # what every player shows
_BT709 = 1
_HDR = (16, 18)  # transfer characteristics PQ and HLG
_TICKS = 90_000  # a second, where the original's own ticks are coarser than a millisecond would need


def target_suffix(source: Path) -> str:
    """Suffix of the file that holds what a source holds.

    Raises:
        BadSampleError: the source is no video, or one of high dynamic range.
    """
    import av  # here: photos need no codecs

    try:
        with av.open(str(source)) as container:
            names = {stream.codec_context.name for stream in container.streams.audio if stream.codec_context}
            is_hdr = any(stream.codec_context.color_trc in _HDR for stream in container.streams.video)
    except (av.FFmpegError, OSError) as error:
        raise BadSampleError(f"{source} cannot be read as a video: {error}.") from error
    if is_hdr:
        raise BadSampleError(f"{source} is an HDR video, whose colors would come out pale; convert it to SDR first.")
    suffix = source.suffix.lower()
    if suffix in (".mov", ".mkv"):
        return suffix
    fits = all(name.removesuffix("float") in _MP4_SOUND for name in names)
    return ".mkv" if not fits else suffix if suffix in _FORMATS else ".mp4"


class VideoCopy:
    """Writes new frames beside the sound of an original; a context, at whose end the file is complete or gone.

    Sound is copied without decoding. Frames keep their times, so that a variable frame rate stays one.

    Args:
        source: the original.
        target: with the suffix that `target_suffix` names; its folder exists.

    Raises:
        DiskError: the file cannot be written. BadSampleError: the original cannot be read.
    """

    def __init__(self, source: Path, target: Path) -> None:
        self.source, self.target = source, target
        self._temporary = target.with_name(f"{target.name}.tmp-{os.getpid()}")
        self._opened: list[Any] = []
        self._picture: Any = None
        self._last_tick = -1

    def __enter__(self) -> VideoCopy:
        import av

        self._start = _first_time(self.source)
        try:
            self._original = av.open(str(self.source))
            self._opened.append(self._original)
            self._file = av.open(str(self._temporary), "w", format=_FORMATS[self.target.suffix], options=(
                {} if self.target.suffix == ".mkv" else {"movflags": "+faststart"}))
            self._opened.append(self._file)
        except (av.FFmpegError, OSError) as error:
            self._close()
            raise DiskError(f"{self.target} cannot be written: {error}.") from error
        self._shown = self._original.streams.video[0]
        self._matrix = int(self._shown.codec_context.colorspace)
        self._file.metadata.update(self._original.metadata)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._close()
            self._temporary.unlink(missing_ok=True)

    def add(self, frame: np.ndarray, time: float) -> None:
        """Add a frame.

        Args:
            frame: (H, W, 3) uint8 RGB, all of one size.
            time: seconds from the first frame, growing.
        """
        import av

        if self._picture is None:
            self._begin(*frame.shape[:2])
        height, width = frame.shape[:2]
        if height % 2 or width % 2:  # the usual kind of H.264 has even sides
            frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(
            format=_PIXELS, dst_colorspace="ITU709" if self._matrix == _BT709 else "ITU601")
        picture.colorspace = self._matrix
        self._last_tick = max(round((self._start + time) / self._time_base), self._last_tick + 1)
        picture.pts, picture.time_base = self._last_tick, self._time_base
        self._copy_sound(self._start + time)
        self._file.mux(self._picture.encode(picture))

    def _begin(self, height: int, width: int) -> None:
        """Declare the streams, which happens when the size is known."""
        rate = self._shown.average_rate or self._shown.guessed_rate or Fraction(25)
        self._picture = self._file.add_stream("libx264", rate=rate, options={"crf": _QUALITY, "preset": "medium"})
        self._picture.height, self._picture.width = height + height % 2, width + width % 2
        self._picture.pix_fmt = _PIXELS
        self._picture.codec_context.colorspace = self._matrix
        own = self._shown.time_base
        self._time_base = own if own and own <= Fraction(1, 1000) else Fraction(1, _TICKS)
        self._picture.codec_context.time_base = self._time_base
        if ratio := self._shown.sample_aspect_ratio:
            is_turned = (height > width) != (self._shown.height > self._shown.width)
            self._picture.codec_context.sample_aspect_ratio = 1 / ratio if is_turned else ratio
        self._sounds = {stream.index: self._file.add_stream_from_template(stream)
                        for stream in self._original.streams.audio}
        for stream in self._original.streams.audio:
            self._sounds[stream.index].metadata.update(stream.metadata)
        self._packets = self._sound_packets()
        self._waiting: Any = next(self._packets, None)

    def _sound_packets(self) -> Iterator[Any]:
        if self._sounds:
            for packet in self._original.demux(*self._original.streams.audio):
                if packet.dts is not None:  # the last one is empty
                    yield packet

    def _copy_sound(self, until: float) -> None:
        """Copy the sound up to a time in the original's seconds, so that both arrive together in a player."""
        while self._waiting is not None and float(self._waiting.dts * self._waiting.time_base) <= until:
            self._waiting.stream = self._sounds[self._waiting.stream.index]
            self._file.mux(self._waiting)
            self._waiting = next(self._packets, None)

    def _finish(self) -> None:
        import av

        if self._picture is None:
            raise BadSampleError(f"{self.source} shows no frame.")
        try:
            self._file.mux(self._picture.encode())
            self._copy_sound(float("inf"))
            self._file.close()
            os.replace(self._temporary, self.target)
        except (av.FFmpegError, OSError) as error:
            raise DiskError(f"{self.target} cannot be written: {error}.") from error

    def _close(self) -> None:
        for container in self._opened:
            container.close()


def _first_time(source: Path) -> float:
    """When the first frame is shown, in the file's own seconds; its header does not always know."""
    import av

    try:
        with av.open(str(source)) as container:
            return float(next(container.decode(video=0)).time or 0.0)
    except (av.FFmpegError, OSError, StopIteration, IndexError) as error:
        raise BadSampleError(f"{source} cannot be read as a video: {error}.") from error
