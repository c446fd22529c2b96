"""The progress line, and `scalars.jsonl`."""

from __future__ import annotations

import json
import math
import resource
import shutil
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, TextIO

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import Hook

from clipapps.registry import HOOKS

SCALARS = "scalars.jsonl"


@HOOKS.register_module()
class ProgressLogger(Hook):
    """Show where training stands, and append every logged number to `scalars.jsonl`.

    On a terminal one line is redrawn (at most `refresh` times a second) and a plain line is kept for each
    validation; elsewhere a plain line is printed every `interval` steps, without any escape code. Each JSON line is
    one logging step: {"mode": "train", "step": 20, "lr": ..., "loss": ..., ...} or {"mode": "val", "step": 100,
    "mIoU": ...}; train values are means over the steps since the last line. The runner's visualizer backends, such as
    TensorBoard, get the same numbers.

    Args:
        interval: steps between two logged lines.
        refresh: redraws of the live line per second, at most.
        stream: where lines go; None is standard output.
    """

    priority = "BELOW_NORMAL"

    def __init__(self, interval: int = 20, refresh: float = 5.0, stream: TextIO | None = None) -> None:
        self.interval = interval
        self.refresh = refresh
        self._stream = stream
        self._sums: dict[str, list[float]] = defaultdict(list)
        self._drawn = 0.0
        self._live_width = 0

    @property
    def stream(self) -> TextIO:
        """Where lines go, looked up late so that a redirected standard output is respected."""
        return self._stream or sys.stdout

    def before_train(self, runner: Any) -> None:
        """Start `scalars.jsonl`; on resume keep only what happened before the step that training goes on from."""
        self._started, self._first = time.monotonic(), runner.iter
        self._last = self._started
        self._in_validation = 0.0
        if runner.rank == 0:
            keep_until(Path(runner.work_dir) / SCALARS, runner.iter)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Note how long the data took."""
        self._sums["data_time"].append(time.monotonic() - self._last)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None,
                         outputs: dict[str, Any] | None = None) -> None:
        """Collect the step's numbers; log them every `interval` steps and at the end."""
        now = time.monotonic()
        self._sums["time"].append(now - self._last)
        self._last = now
        for name, value in (outputs or {}).items():
            number = float(value.detach() if hasattr(value, "detach") else value)
            if math.isfinite(number):  # a step that was skipped has its own line
                self._sums[name].append(number)
        step = runner.iter + 1
        if step % self.interval == 0 or step == runner.max_iters:
            record = averaged(self._record(runner, step))
            self._log(runner, record, step)
            self._sums.clear()
            self._print(runner, self._line(runner, record), keep=not self._is_live())
        elif self._is_live() and now - self._drawn > 1 / self.refresh:
            self._print(runner, self._line(runner, self._record(runner, step)), keep=False)

    def before_val(self, runner: Any) -> None:
        """Remember when validation began."""
        self._val_started = time.monotonic()

    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Show how far validation is, on a terminal."""
        now = time.monotonic()
        if self._is_live() and now - self._drawn > 1 / self.refresh:
            self._print(runner, f"validating {batch_idx + 1}/{len(runner.val_dataloader)}", keep=False)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Log the metrics; the time of validation does not count as time of a step."""
        self._show_metrics(runner, "val", metrics)
        now = time.monotonic()
        self._in_validation = getattr(self, "_in_validation", 0.0) + now - getattr(self, "_val_started", now)
        self._last = now

    def after_test_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Show how far the test is, on a terminal."""
        if self._is_live() and time.monotonic() - self._drawn > 1 / self.refresh:
            self._print(runner, f"testing {batch_idx + 1}/{len(runner.test_dataloader)}", keep=False)

    def after_test_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Print the metrics."""
        self._show_metrics(runner, "test", metrics)

    def after_train(self, runner: Any) -> None:
        """Clear the live line."""
        if self._is_live():
            self._print(runner, "", keep=False)

    def _show_metrics(self, runner: Any, mode: str, metrics: dict[str, float] | None) -> None:
        step = runner.iter if runner.train_loop is not None else 0
        numbers = {name: float(value) for name, value in (metrics or {}).items() if _is_number(value)}
        if mode == "val":
            self._log(runner, {"mode": mode, "step": step, **numbers}, step)
        brief = {name: value for name, value in numbers.items() if "/" not in name} or numbers  # not every class
        shown = "  ".join(f"{name} {value:.4g}" for name, value in brief.items())
        self._print(runner, f"{mode:<5} {f'step {step}  ' if step else ''}{shown}", keep=True)

    def _record(self, runner: Any, step: int) -> dict[str, Any]:
        record: dict[str, Any] = {"mode": "train", "step": step}
        if runner.max_epochs > 1:
            record["epoch"] = runner.epoch + 1
        rates = {name: values[0] for name, values in runner.optim_wrapper.get_lr().items() if values}
        record.update({name: rate for name, rate in rates.items() if not name.startswith("base_")})
        record.update({name: sum(values) / len(values) for name, values in self._sums.items() if values})
        done, spent = step - self._first, time.monotonic() - self._started - self._in_validation
        record["eta"] = spent / max(done, 1) * (runner.max_iters - step)
        record["memory"] = memory_mib(runner.device)
        return record

    def _line(self, runner: Any, record: dict[str, Any]) -> str:
        parts = [f"train {record['step']}/{runner.max_iters}", f"eta {_clock(record['eta'])}"]
        parts += [f"{name} {record[name]:.4g}" for name in record if "loss" in name]
        parts += [f"lr {record['lr']:.3g}"] if "lr" in record else []
        parts += [f"{record['time'] * 1000:.0f} ms/step (data {record['data_time'] * 1000:.0f})"]
        parts += [f"{record['memory']} MiB"]
        return "  ".join(parts)

    def _log(self, runner: Any, record: dict[str, Any], step: int) -> None:
        if runner.rank != 0:
            return
        rounded = {name: _rounded(value) for name, value in record.items()}
        with open(Path(runner.work_dir) / SCALARS, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(rounded) + "\n")
        prefix = record["mode"]
        scalars = {f"{prefix}/{name}": value for name, value in record.items() if _is_number(value) and name != "step"}
        runner.visualizer.add_scalars(scalars, step=step)

    def _is_live(self) -> bool:
        return bool(getattr(self.stream, "isatty", lambda: False)())

    def _print(self, runner: Any, text: str, *, keep: bool) -> None:
        if runner.rank != 0:
            return
        self._drawn = time.monotonic()
        if not self._is_live():
            print(text, file=self.stream, flush=True)
            return
        width = _terminal_width()
        shown = text if keep else text[: width - 1]
        padding = " " * max(0, self._live_width - len(shown))
        print(f"\r{shown}{padding}", end="\n" if keep else "", file=self.stream, flush=True)
        self._live_width = 0 if keep else len(shown)


def keep_until(path: Path, step: int) -> None:
    """Drop the lines of `scalars.jsonl` after `step` (all of them at step 0), and a last line that was cut short."""
    kept = []
    if step > 0 and path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if record.get("step", 0) <= step:
                kept.append(line + "\n")
    path.write_text("".join(kept), encoding="utf-8")


def memory_mib(device: torch.device) -> int:
    """Peak memory of the GPU's tensors, or on a CPU the peak of the process, in MiB."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)


def averaged(record: dict[str, Any]) -> dict[str, Any]:
    """The mean over all processes of every number that each of them measures for itself; all must call it."""
    if get_world_size() == 1:
        return record
    names = sorted(name for name, value in record.items() if isinstance(value, float))
    means = torch.tensor([record[name] for name in names], dtype=torch.float64)
    all_reduce(means, op="mean")
    return {**record, **dict(zip(names, means.tolist(), strict=True))}


def _terminal_width() -> int:
    return shutil.get_terminal_size().columns


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) or (hasattr(value, "item") and getattr(value, "size", 1) == 1)


def _rounded(value: Any) -> Any:
    """Six significant digits; a number that JSON lacks (nan, inf) becomes null."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
