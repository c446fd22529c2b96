"""Child processes that decode, kept between videos: asked with a time limit, replaced after a crash or a hang."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from clipapps.errors import BadSampleError, ClipAppsError, OutOfMemoryError, UserError

PATIENCE = 10.0
"""Seconds without a sign of life after which a decoder counts as hung; it gives one every quarter of a second."""
START_PATIENCE = 120.0
"""Seconds that the first answer of a new process may take: it loads its libraries, maybe from a slow disk."""
REQUESTS_A_PROCESS = 2000
_ROOT = Path(__file__).resolve().parents[3]
_PIPE_BYTES = 1 << 20
_SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ of Linux, which Python's fcntl does not name everywhere


class DecoderLostError(Exception):
    """The child crashed or hung; the message says how."""


class DecoderProcess:
    """One child process and the pipes to it."""

    def __init__(self) -> None:
        path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the child)
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", "clipapps.data.video.child"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self._complaints, bufsize=0, env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"})
        assert self._child.stdin is not None and self._child.stdout is not None
        self._input, self._output = self._child.stdin, self._child.stdout.fileno()
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            fcntl.fcntl(self._output, _SET_PIPE_SIZE, _PIPE_BYTES)
        self._poll = select.poll()
        self._poll.register(self._output, select.POLLIN)
        self._buffer = b""
        self._answered = False
        self.requests = 0

    @property
    def pid(self) -> int:
        """Of the child."""
        return self._child.pid

    def ask(self, request: dict[str, Any], patience: float) -> Iterator[tuple[dict[str, Any], np.ndarray | None]]:
        """Send a request and give its answers as they come: a line and, where it has one, a frame (H, W, 3) uint8.

        Raises:
            DecoderLostError: the child is gone or gave no sign of life for `patience` seconds; it is ended.
            BadSampleError: the child says that the file cannot be used. OutOfMemoryError, UserError: it says so.
        """
        self.requests += 1
        try:
            try:
                self._input.write(json.dumps(request).encode() + b"\n")
            except OSError as error:
                raise DecoderLostError("ended before it was asked") from error
            while True:
                line = json.loads(self._line(patience if self._answered else max(patience, START_PATIENCE)))
                self._answered = True
                if "error" in line:
                    raise _error(line, request["path"])
                if "end" in line:
                    return
                if "shape" in line:
                    yield line, self._frame(line["shape"], patience)
                elif "alive" not in line:
                    yield line, None
        except DecoderLostError:
            self.kill()
            raise

    def kill(self) -> None:
        """End the child at once."""
        self._child.kill()
        self._child.wait()
        self._close()

    def is_alive(self) -> bool:
        """Whether the child still runs."""
        return self._child.poll() is None

    def _close(self) -> None:
        for stream in (self._input, self._child.stdout, self._complaints):
            with contextlib.suppress(OSError):
                stream.close()

    def _line(self, patience: float) -> bytes:
        deadline = time.monotonic() + patience
        while b"\n" not in self._buffer:
            self._wait(deadline, patience)
            self._buffer += self._received(os.read(self._output, 1 << 16))
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _frame(self, shape: list[int], patience: float) -> np.ndarray:
        frame = np.empty(shape, np.uint8)
        view = frame.reshape(-1).data
        done = min(len(self._buffer), len(view))
        view[:done] = self._buffer[:done]
        self._buffer = self._buffer[done:]
        deadline = time.monotonic() + patience
        while done < len(view):
            self._wait(deadline, patience)
            count = os.readv(self._output, [view[done:]])
            self._received(b"x" * bool(count))
            done += count
        return frame

    def _wait(self, deadline: float, patience: float) -> None:
        if not self._poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise DecoderLostError(f"hung: no sign of life for {patience:g} s")

    def _received(self, content: bytes) -> bytes:
        if not content:
            code = self._child.wait()
            if not self._answered and code > 0:
                raise ClipAppsError(f"The process that decodes videos does not start{self._last_words()}.")
            how = f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
            raise DecoderLostError(f"crashed: it ended {how}{self._last_words()}")
        return content

    def _last_words(self) -> str:
        """The last line of a child's traceback: a missing library, for example."""
        self._complaints.seek(0)
        words = self._complaints.read()[-2000:].decode(errors="replace").strip().splitlines()
        return f" ({words[-1]})" if words else ""


def _error(line: dict[str, Any], path: str) -> Exception:
    kind = line.get("kind")
    if kind == "MemoryError":
        return OutOfMemoryError(f"There is not enough memory to decode {path}. Read fewer or smaller frames at once.")
    if kind is not None:
        return UserError(f'Reading videos needs PyAV and decord2: pip install "clipapps[ila]" ({line["error"]}).')
    return BadSampleError(f"{path} {line['error']}.")


class _Pool:
    """Idle children of this process; a forked process begins with none."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[DecoderProcess] = []
        os.register_at_fork(after_in_child=self._forget)

    def take(self) -> DecoderProcess:
        """An idle child, else a new one."""
        with self._lock:
            while self._idle:
                process = self._idle.pop()
                if process.is_alive():
                    return process
                process.kill()
        return DecoderProcess()

    def give_back(self, process: DecoderProcess) -> None:
        """Keep a child for the next request, unless it has had many: decoders may leak a little."""
        if process.requests >= REQUESTS_A_PROCESS:
            process.kill()
            return
        with self._lock:
            self._idle.append(process)

    def close(self) -> None:
        """End the idle children."""
        with self._lock:
            while self._idle:
                self._idle.pop().kill()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._idle = []


pool = _Pool()


def ask(request: dict[str, Any], patience: float = PATIENCE) -> Iterator[tuple[dict[str, Any], np.ndarray | None]]:
    """Ask some child; arguments, answers and errors as `DecoderProcess.ask`. Left early, its child is ended."""
    process = pool.take()
    finished = False
    try:
        yield from process.ask(request, patience)
        finished = True
    except (BadSampleError, OutOfMemoryError, UserError):
        finished = True
        raise
    finally:
        if finished:
            pool.give_back(process)
        else:
            process.kill()
