"""Command lines in forked children: many runs that are killed share one start of Python and torch.

Reads one JSON job a line and prints what its child says: "child <pid>" first, "step" before each training step,
"half", "written" and "renamed" with a file's name at the three stages of writing a checkpoint, and "ended <status>"
last (a negative status is the signal that ended it).
"""

from __future__ import annotations

import builtins
import io
import json
import os
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from engine_comparison import OVERRIDES
from engine_toy_task import ToyModel

from clipapps.cli.main import main
from clipapps.engine import atomic, runner
from clipapps.engine.config import load_config


def say(*words: object) -> None:
    print(*words, flush=True)


def slow_steps(seconds: float) -> None:
    original = ToyModel.train_step

    def train_step(self, *arguments, **more):
        say("step")
        time.sleep(seconds)
        return original(self, *arguments, **more)

    ToyModel.train_step = train_step


def slow_saves(seconds: float) -> None:
    save, replace = torch.save, os.replace

    def slow_save(content, stream) -> None:
        buffer = io.BytesIO()
        save(content, buffer)
        data = buffer.getvalue()
        stream.write(data[: len(data) // 2])
        stream.flush()
        say("half", stream.name)
        time.sleep(seconds)
        stream.write(data[len(data) // 2:])

    def slow_replace(source, target) -> None:
        is_of_a_save = str(target).endswith((".pth", "last_checkpoint"))
        if is_of_a_save:
            say("written", target)
            time.sleep(seconds)
        replace(source, target)
        if is_of_a_save:
            say("renamed", target)
            time.sleep(seconds)

    torch.save, os.replace = slow_save, slow_replace


def full_disk(name: str, limit: int) -> None:
    """Writing the file `name` fails at byte `limit`.

    The limit on file sizes stands for the full disk, and lasts until the half-written file has been removed.
    """
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    remove, open_file = atomic._remove, builtins.open

    def limited(path: Any, *arguments: Any, **more: Any) -> Any:
        if str(path).rpartition("/")[2].startswith(f"{name}.tmp-"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        return open_file(path, *arguments, **more)

    def lifted(path: Any) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        remove(path)

    atomic.open, atomic._remove = limited, lifted


def import_everything() -> None:
    """What a run imports on its way, once for all children; no backward pass, which would forbid to fork on a GPU."""
    with tempfile.TemporaryDirectory() as folder:
        cfg = load_config(Path(__file__).with_name("toy_config.py"), OVERRIDES)
        cfg.work_dir, cfg.device, cfg.default_scope = folder, "cpu", "clipapps"
        made = runner.Runner.from_cfg(cfg)
        made.optim_wrapper = made.build_optim_wrapper(cfg.optim_wrapper)
        made.optim_wrapper.optimizer.step()
        made.build_param_scheduler(cfg.param_scheduler)
        runner.portable(cfg)
        made.close()


def child(job: dict[str, Any]) -> int:
    if "step" in job:
        slow_steps(job["step"])
    if "save" in job:
        slow_saves(job["save"])
    if "full" in job:
        full_disk(*job["full"])
    say("child", os.getpid())
    return main(job["arguments"])


import_everything()
for line in sys.stdin:
    job = json.loads(line)
    process = os.fork()
    if process == 0:
        if "errors" in job:
            os.dup2(os.open(job["errors"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        code = child(job)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    say("ended", os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
