"""The child process that decodes: `python -m clipapps.data.video.child`, started by `clipapps.data.video.process`.

Requests come as JSON, one a line, on standard input. Answers go to the stream that standard output was at the start:
JSON lines, each followed by as many raw bytes as its `bytes` says; the last line of a request has `end` or `error`.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from clipapps.data.video.decoding import Video

_WATCH_SECONDS = 1.0
_ALIVE_SECONDS = 0.25


class Answers:
    """The way back to the parent."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._last = 0.0

    def tell(self, **content: Any) -> None:
        """Send one line."""
        self._stream.write(json.dumps(content).encode() + b"\n")
        self._stream.flush()
        self._last = time.monotonic()

    def show(self, frame: np.ndarray, **content: Any) -> None:
        """Send one frame (H, W, 3) uint8."""
        frame = np.ascontiguousarray(frame)
        self.tell(shape=frame.shape, bytes=frame.nbytes, **content)
        self._stream.write(frame.data)
        self._stream.flush()

    def alive(self) -> None:
        """Say that work goes on, not too often."""
        if time.monotonic() - self._last > _ALIVE_SECONDS:
            self.tell(alive=True)


class Decoder:
    """Answers requests; keeps the video of the last one, whose file must not have changed.

    Args:
        answers: where to.
    """

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._video: Video | None = None
        self._key: tuple[Any, ...] = ()

    def answer(self, request: dict[str, Any]) -> None:
        """Carry out one request: `do` is "info", "count", "read" or "stream"."""
        try:
            getattr(self, f"_{request['do']}")(self._opened(request), request)
        except ImportError as error:
            self._answers.tell(error=str(error), kind="ImportError")
        except MemoryError as error:
            self._answers.tell(error=str(error), kind="MemoryError")
        except Exception as error:  # whatever a damaged file makes a decoder raise is the file's fault
            is_told = type(error).__name__ == "BadVideoError"
            self._answers.tell(error=str(error) if is_told else f"cannot be decoded: {type(error).__name__}: {error}")
        else:
            self._answers.tell(end=True)

    def _opened(self, request: dict[str, Any]) -> Video:
        from clipapps.data.video.decoding import Video  # here, so that a missing library is an answer

        found = os.stat(request["path"])
        key = (request["path"], request["max_pixels"], found.st_mtime_ns, found.st_size, found.st_ino)
        if self._video is None or key != self._key:
            self._video = None
            self._video, self._key = Video(request["path"], request["max_pixels"], self._answers.alive), key
        return self._video

    def _info(self, video: Video, request: dict[str, Any]) -> None:
        self._answers.tell(info=video.info())

    def _count(self, video: Video, request: dict[str, Any]) -> None:
        self._answers.tell(count=len(video))

    def _read(self, video: Video, request: dict[str, Any]) -> None:
        for index, frame in video.read(request["indices"], request["backend"]):
            self._answers.show(frame, index=index)

    def _stream(self, video: Video, request: dict[str, Any]) -> None:
        for seconds, frame in video.stream(request["start"], request["until"]):
            self._answers.show(frame, time=seconds)


def _end_with_parent(parent: int) -> None:
    """Leave when the parent is no more, even in the midst of a decoder that hangs."""
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os._exit(0)


def _requests(stream: BinaryIO) -> Iterator[dict[str, Any]]:
    for line in stream:
        yield json.loads(line)


def main() -> None:
    """Answer requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not come between the answers
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    decoder = Decoder(Answers(answers))
    for request in _requests(sys.stdin.buffer):
        decoder.answer(request)


if __name__ == "__main__":
    main()
