"""A project's tiny training in a process of its own, watched while it runs."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from clipapps.data.images import read_image
from clipapps.errors import BadSampleError
from clipapps.visualization.curves import read_scalars

_GRACE = 3.0  # seconds between the signal that saves and stops, and the one that kills


@dataclass(frozen=True)
class Progress:
    """What a run shows at one moment.

    Args:
        status: one sentence.
        records: of its `scalars.jsonl` so far.
        pictures: newest pictures that the run wrote, (path, caption).
        is_over: whether the process has ended.
    """

    status: str
    records: list[dict[str, Any]]
    pictures: list[tuple[str, str]]
    is_over: bool


@dataclass
class TrainingRun:
    """`clipapps train CONFIG` in a process and a temporary folder of its own.

    Args:
        config: name of a shipped config; overrides: as on the command line.
        max_seconds: the run is stopped (and saves) after this long.

    >>> run = TrainingRun("denseclip/denseclip_fpn_tiny_toyworld", ("train_cfg.max_iters=2",))
    >>> run.command_line
    'clipapps train denseclip/denseclip_fpn_tiny_toyworld train_cfg.max_iters=2'
    """

    config: str
    overrides: Sequence[str] = ()
    max_seconds: float = 900.0
    _folder: tempfile.TemporaryDirectory[str] | None = field(default=None, repr=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _began: float = 0.0
    _was_stopped: bool = False

    @property
    def command_line(self) -> str:
        """What to type for the same run."""
        return shlex.join(["clipapps", "train", self.config, *self.overrides])

    @property
    def work_dir(self) -> Path:
        """Where the run writes; raises RuntimeError before `start`."""
        if self._folder is None:
            raise RuntimeError("the run has not begun")
        return Path(self._folder.name) / "run"

    def start(self) -> None:
        """Begin in the background."""
        self._folder = tempfile.TemporaryDirectory(prefix="clipapps-demo-")
        self._began = time.monotonic()
        with open(Path(self._folder.name) / "log.txt", "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "clipapps", "train", self.config, "--work-dir", str(self.work_dir),
                 *self.overrides],
                stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")})

    def stop(self) -> None:
        """Ask the process to save and end; kill it when it does not within seconds."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        self._was_stopped = True
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def close(self) -> None:
        """Stop, and remove what the run wrote."""
        self.stop()
        if self._folder is not None:
            self._folder.cleanup()

    def watch(self, every: float = 1.0) -> Iterator[Progress]:
        """What the run shows, again and again until it is over."""
        while True:
            if time.monotonic() - self._began > self.max_seconds:
                self.stop()
            now = self.look()
            yield now
            if now.is_over:
                return
            time.sleep(every)

    def look(self) -> Progress:
        """What the run shows now."""
        assert self._process is not None, "the run has not begun"
        code = self._process.poll()
        scalars = self.work_dir / "scalars.jsonl"
        records = read_scalars(scalars) if scalars.is_file() else []
        step = max((int(record.get("step", 0)) for record in records), default=0)
        return Progress(self._status(code, step), records, self._pictures(), code is not None)

    def _status(self, code: int | None, step: int) -> str:
        seconds = time.monotonic() - self._began
        if code is None:
            return f"Step {step}, {seconds:.0f} s." if step else f"Starting, {seconds:.0f} s."
        if self._was_stopped:
            return f"Stopped at step {step}."
        if code == 0:
            return f"Done: {step} steps in {seconds:.0f} s."
        return f"The training ended with code {code}: {self._last_words()}"

    def _last_words(self) -> str:
        assert self._folder is not None
        lines = (Path(self._folder.name) / "log.txt").read_text(errors="replace").strip().splitlines()
        return lines[-1].replace(self._folder.name, "") if lines else "it said nothing."

    def _pictures(self) -> list[tuple[str, str]]:
        files = sorted(self.work_dir.glob("pictures/**/*.png"), key=lambda path: path.stat().st_mtime)[-4:]
        found = []
        for file in files:
            with contextlib.suppress(BadSampleError, OSError):  # one that is just being written
                shown: np.ndarray = read_image(file)
                if shown.size:
                    found.append((str(file), file.stem))
        return found
