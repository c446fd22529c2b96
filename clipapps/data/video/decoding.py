"""Decoding as the child process does it: PyAV for headers, times and strict decoding, decord for speed.

Nothing here is meant for the process that trains: a decoder that meets a damaged file may crash or hang.

decord tells neither of concealed errors nor of wrong reference frames: it returns whatever FFmpeg made of them. But
FFmpeg writes to the standard error stream, which in the child is a file of its own: as soon as one word stands there,
all frames are decoded again by PyAV with FFmpeg told to fail instead of concealing. A damaged packet spoils every frame
from there to the next key frame, and a spoiled frame that was asked for is an error.
"""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.frame import PictureType

from clipapps.data.video.integrity import (
    end_of_chain,
    is_cut_short,
    length_size,
    units_complaint,
    zeros_complaint,
)

# By content, whatever the suffix says. No play lists (HLS, DASH, concat): they make a reader open other files.
FORMATS = ("mov", "mp4", "matroska", "webm", "avi", "mpegts", "mpeg", "mpegvideo", "flv", "asf", "ogg", "gif", "apng",
           "h264", "hevc", "m4v", "mjpeg", "nut", "wtv", "dv", "mxf", "rm", "ivf")
# Containers that store when each frame is shown. For others FFmpeg makes times up, and not always in the right order.
TIMED = ("mov", "matroska", "flv", "mpegts", "nut", "ivf")
# What FFmpeg says of whole files: about B-frames in AVI files, and, from its filters, about tagged colors.
_HARMLESS = ("packed B-frames", "[in @", "[swscaler @", "[auto_scale")
MOST_PACKETS = 20_000_000
_ALIVE_EVERY = 64
_TIME_TOLERANCE = 1e-6  # seconds; 0.2 as a float lies after a frame at exactly 1/5
_BACKENDS = ("auto", "decord", "av")
Alive = Callable[[], None]


class BadVideoError(Exception):
    """The file cannot be used; the message is the end of a sentence that begins with its name."""


class _DistrustError(Exception):
    """decord's frames may be wrong, or it has none."""


class Video:
    """One video file.

    Args:
        path: absolute.
        max_pixels: width times height allowed; read from the header, before anything is decoded.
        alive: called now and then while nothing is returned yet.

    Raises:
        BadVideoError: here or when reading: it is no video, is damaged, or too large.
    """

    def __init__(self, path: str, max_pixels: int, alive: Alive = lambda: None) -> None:
        self.path, self.alive = path, alive
        with self._opened() as container:
            stream = container.streams.video[0]
            context = stream.codec_context
            if not (context.width > 0 and context.height > 0):
                raise BadVideoError("has a video stream without a picture size")
            if context.width * context.height > max_pixels:
                raise BadVideoError(f"has {context.width} x {context.height} pixels; at most {max_pixels:,} are read")
            self.coded_size = (context.width, context.height)
            self.codec = context.name
            self.fps = float(stream.average_rate or stream.guessed_rate or 0)
            self.has_audio = bool(container.streams.audio)
            self.header_seconds = _seconds(stream, container)
            frame = next(_decoded(container, self.alive), None)  # only a frame tells how it is turned
            if frame is None:
                raise BadVideoError("holds no frame that decodes")
            self.turns = round(frame.frame.rotation / 90) % 4  # by 90 degrees counterclockwise to stand upright
        self.has_damage = False
        self._times: list[int] | None = None
        self._count: int | None = None

    def info(self) -> dict[str, Any]:
        """What the header says, with the upright size."""
        width, height = self.coded_size[::-1] if self.turns % 2 else self.coded_size
        return dict(fps=self.fps, width=width, height=height, codec=self.codec, has_audio=self.has_audio,
                    seconds=self.header_seconds)

    def __len__(self) -> int:
        """Whole frames in the file: what the header says is not believed, and packets that were cut are not counted."""
        if self._count is None:
            self._scan()
        if not self._count:
            raise BadVideoError("holds no whole frame")
        return self._count

    def _scan(self) -> None:
        """Go through all packets, without decoding: how many frames, when, and whether the bytes tell of damage."""
        times = []
        with self._opened() as container:
            stream = container.streams.video[0]
            kind = container.format.name
            check = _PacketCheck(container, stream)
            cut, packets, last = is_cut_short(self.path, kind), 0, None
            for number, packet in enumerate(_packets(container, stream)):
                if number % 1024 == 0:
                    self.alive()
                if number > MOST_PACKETS:
                    raise BadVideoError(f"has more than {MOST_PACKETS:,} packets")
                self.has_damage |= bool(check(packet))
                cut |= packet.is_corrupt
                packets += bool(packet.size)
                if packet.size and not (packet.is_corrupt or packet.is_discard) and self._shows(packet):
                    times.append(packet.pts)
                    last = packet.dts
            cut |= kind.startswith("mov") and stream.frames > packets
        is_timed = kind.split(",")[0] in TIMED and None not in times and len(set(times)) == len(times)
        # Of a file that ends early, the last frames may have to be shown after others that are missing.
        self._times = _numbered(sorted(times), last, cut) if is_timed else None
        self._count = len(times) - cut if self._times is None else len(self._times)

    def read(self, wanted: Sequence[int], backend: str = "auto") -> Iterator[tuple[int, np.ndarray]]:
        """Frames by number, (H, W, 3) uint8 RGB, upright; `wanted` ascends. A number may come twice: the last counts.

        Args:
            wanted: numbers from 0 to `len(self) - 1`.
            backend: "auto" tries decord and then PyAV, but PyAV at once for files without times of frames (AVI) and for
                damaged ones; "decord" or "av" takes that one alone. Turned frames are always PyAV's.
        """
        count = len(self)
        if wanted[-1] >= count or wanted[0] < 0:
            wrong = wanted[-1] if wanted[0] >= 0 else wanted[0]
            raise BadVideoError(f"has {count} frames, so there is no frame {wrong}")
        if backend == "decord" and self.has_damage:
            raise BadVideoError("is damaged, and decord would not tell where")
        # Out of AVI files decord gave a wrong last frame, once in many hundred times; and PyAV is the faster one there.
        is_for_decord = backend == "decord" or (backend == "auto" and self._times is not None)
        if is_for_decord and not self.turns and not self.has_damage:
            try:
                yield from self._read_with_decord(wanted)
                return
            except ImportError:  # there is no wheel for every machine
                if backend == "decord":
                    raise
            except _DistrustError as error:
                if backend == "decord":
                    raise BadVideoError(f"cannot be decoded by decord: {error}") from error
        yield from self._read_with_av(wanted)

    def stream(self, start: float = 0.0, end: float | None = None) -> Iterator[tuple[float, np.ndarray]]:
        """All frames in order with their times in seconds, of which the first is 0; from `start` up to before `end`."""
        with self._opened() as container:
            first: Fraction | None = None
            for number, frame in enumerate(_decoded(container, self.alive)):
                time = _time_of(frame.frame, number, self.fps)
                first = time if first is None else first
                seconds = float(time - first)
                if end is not None and seconds >= end - _TIME_TOLERANCE:
                    return
                if frame.damage:
                    raise BadVideoError(f"is damaged at {seconds:.2f} s: {frame.damage}")
                if seconds >= start - _TIME_TOLERANCE:
                    yield seconds, self._upright(frame.frame)
                elif number % _ALIVE_EVERY == 0:
                    self.alive()

    def _read_with_decord(self, wanted: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Frames of decord, which must agree with PyAV about their number and size and find nothing to complain of."""
        decord = _loaded_decord(self.alive)
        decord.logging.set_level(decord.logging.INFO)  # that parts of a frame are made up is no error to FFmpeg
        clear_complaints()
        width, height = self.coded_size
        try:
            reader = decord.VideoReader(self.path, ctx=decord.cpu(0), num_threads=1)
            if len(reader) != len(self):
                raise _DistrustError(f"it counts {len(reader)} frames instead of {len(self)}")
            for index in wanted:
                frame = reader.get_batch([index]).asnumpy()  # [index] gives a wrong shape at some widths, this raises
                if frame.shape != (1, height, width, 3) or complaints():
                    raise _DistrustError(complaints() or f"its frames have the shape {frame.shape[1:]}")
                yield index, frame[0]
        except (_DistrustError, MemoryError):
            raise
        except Exception as error:  # its errors share no class
            raise _DistrustError(_words(error)) from error

    def _read_with_av(self, wanted: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        numbers = None if self._times is None else {time: number for number, time in enumerate(self._times)}
        open_ = set(wanted)
        with self._opened() as container:
            for order, frame in enumerate(_decoded(container, self.alive, in_order=numbers is None)):
                number = order if numbers is None else numbers.get(frame.frame.pts or 0, -1)
                if order % _ALIVE_EVERY == 0:
                    self.alive()
                if number not in open_:
                    continue
                if frame.damage:
                    raise BadVideoError(f"is damaged at frame {number} of {len(self)}: {frame.damage}")
                yield number, self._upright(frame.frame)
                open_.remove(number)
                if not open_:
                    return
        raise BadVideoError(f"is damaged: frame {min(open_)} of {len(self)} does not decode")

    def _upright(self, frame: av.VideoFrame) -> np.ndarray:
        if (frame.width, frame.height) != self.coded_size:
            raise BadVideoError(f"changes its size from {self.coded_size[0]} x {self.coded_size[1]} to "
                                f"{frame.width} x {frame.height} pixels")
        return np.rot90(frame.to_ndarray(format="rgb24"), self.turns)

    def _shows(self, packet: av.Packet) -> bool:
        """VP8 alone has packets that update a reference and show nothing."""
        return self.codec != "vp8" or bool(bytes(packet)[0] & 0x10)

    def _opened(self) -> Any:
        try:
            container = av.open(self.path, options={"format_whitelist": ",".join(FORMATS)})
        except (av.FFmpegError, OSError, ValueError) as error:
            raise BadVideoError(f"is no video that is read here: {_words(error)}") from error
        if not container.streams.video:
            container.close()
            raise BadVideoError("has no video stream")
        return container


def _numbered(times: list[int], last: int | None, cut: bool) -> list[int]:
    """Ascending times of frames, without those at the end of a cut file whose number is not sure.

    What is missing is decoded, and so shown, after `last`, the time of decoding of the last packet that is there.
    Frames up to there have none before them that is missing; and so have those that follow at the usual distance.
    """
    if not cut or len(times) < 3:
        return times
    usual = sorted(after - before for before, after in zip(times[:-1], times[1:], strict=True))[len(times) // 2 - 1]
    sure = max(1, sum(time <= last for time in times) if last is not None else len(times) // 2)
    while sure < len(times) and times[sure] - times[sure - 1] <= 1.5 * usual:
        sure += 1
    return times[:sure]


def _loaded_decord(alive: Alive) -> Any:
    """decord; loading its libraries takes a second or more, during which the parent is told to wait."""
    loading = threading.Thread(target=lambda: importlib.util.find_spec("decord") and importlib.import_module("decord"))
    loading.start()
    while loading.is_alive():
        alive()
        loading.join(0.1)
    import decord

    return decord


class _Frame:
    """A decoded frame, and why it is spoiled."""

    def __init__(self, frame: av.VideoFrame, damage: str) -> None:
        self.frame, self.damage = frame, damage


def _decoded(container: Any, alive: Alive, in_order: bool = False) -> Iterator[_Frame]:
    """Every frame of the video stream in the order of showing, with what spoiled it since the key frame before.

    Args:
        container: just opened.
        alive: called now and then while nothing comes out.
        in_order: frames are told apart by their order alone, so that one that is missing spoils all that follow.
    """
    stream = container.streams.video[0]
    context = stream.codec_context
    context.thread_count = 1
    context.options = {"err_detect": "explode"}  # fail instead of showing what is left of a frame
    orders: dict[int | None, int] = {}  # time of a packet -> its place in the order of decoding
    shown, is_reordered = 0, False
    state = _Damages(in_order)
    check = _PacketCheck(container, stream)
    for order, packet in enumerate(_packets(container, stream)):
        if order % _ALIVE_EVERY == 0:
            alive()
        if not in_order:
            orders[packet.pts if packet.pts is not None else packet.dts] = order
        if complaint := check(packet):
            state.add(order, complaint)
        if packet.is_corrupt:
            continue
        try:
            frames = packet.decode()
        except (av.FFmpegError, ValueError) as error:
            state.add(order, _words(error))
            continue
        for frame in frames:
            is_reordered |= frame.pict_type == PictureType.B
            # Without reordering the n-th frame is the n-th packet, as long as none was lost.
            own = orders.pop(frame.pts, order) if not in_order else order if is_reordered else shown
            shown += 1
            if frame.is_corrupt:
                state.add(own, "parts of it are missing")
            elif frame.key_frame:
                state.start_anew(own)
            yield _Frame(frame, state.reaching(own))


class _Damages:
    """Which packets were damaged, and which frames suffer from it: those from there up to the next key frame.

    Args:
        for_ever: no key frame helps: frames are told apart by their order, and one may be missing.
    """

    def __init__(self, for_ever: bool) -> None:
        self._for_ever = for_ever
        self._found: dict[int, str] = {}
        self._keys = [0]

    def add(self, order: int, reason: str) -> None:
        """Note a damaged packet by its place in the order of decoding."""
        self._found.setdefault(order, reason)

    def start_anew(self, order: int) -> None:
        """Note a whole key frame. Frames come in the order of showing, so a few key frames back are enough."""
        if not self._for_ever:
            self._keys = [*self._keys[-3:], order]
            self._found = {place: reason for place, reason in self._found.items() if place >= min(self._keys)}

    def reaching(self, order: int) -> str:
        """Why the frame at this place in the order of decoding is spoiled; empty where it is not."""
        since = 0 if self._for_ever else max((key for key in self._keys if key <= order), default=0)
        return next((reason for place, reason in self._found.items() if since <= place <= order), "")


class _PacketCheck:
    """What a packet's bytes tell of damage; see `integrity`.

    Args:
        container: just opened; stream: of its video.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        context = stream.codec_context
        self._codec = context.name
        self._length_size = length_size(context.name, context.extradata)
        self._end = end_of_chain(container.name, container.format.name)

    def __call__(self, packet: av.Packet) -> str:
        """Why it is damaged; empty where it is not, as far as can be told."""
        if packet.is_corrupt:
            return "its data are cut short"
        if self._end is not None and packet.size and (packet.pos is None or packet.pos >= self._end):
            return "the parts of the file do not follow one another"
        if self._length_size:
            return units_complaint(bytes(packet), self._length_size, self._codec)
        return zeros_complaint(bytes(packet), self._codec)


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """Packets of one stream, up to the end or to where the container cannot be followed any further."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (av.FFmpegError, ValueError):
            return
        if packet is None:
            return
        yield packet


def _time_of(frame: av.VideoFrame, number: int, fps: float) -> Fraction:
    if frame.pts is None or frame.time_base is None:
        return number / Fraction(fps or 25.0).limit_denominator(100_000)
    return frame.pts * frame.time_base


def _seconds(stream: Any, container: Any) -> float:
    """How long the header says that the video lasts; 0 where it does not."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else 0.0


def complaints() -> str:
    """The first line that FFmpeg has written to the standard error stream since `clear_complaints`; empty for none."""
    lines = os.pread(2, 1 << 16, 0).decode(errors="replace").splitlines() if os.fstat(2).st_size else []
    return next((line.strip() for line in lines if not any(words in line for words in _HARMLESS)), "")


def clear_complaints() -> None:
    """Forget them; only for a process whose standard error stream is a file of its own."""
    os.ftruncate(2, 0)
    os.lseek(2, 0, os.SEEK_SET)


def _words(error: Exception) -> str:
    words = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
    return words.splitlines()[0].rstrip(".").lower()
