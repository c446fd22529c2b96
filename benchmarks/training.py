"""Speed and memory of training configs: `python benchmarks/training.py [CONFIG ...] [--override a.b=c ...]`.

Each config is trained for some steps and evaluated on some batches in a process of its own. Goal: saving a checkpoint
takes at most 1.2 times the file's size of memory on top of what training holds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from measure import MIB, machine, peak_mib, resident_mib, seconds
from mmengine.hooks import Hook

from clipapps.engine import checkpoint
from clipapps.engine.config import load_config
from clipapps.engine.run_config import complete
from clipapps.engine.runner import Runner

CONFIGS = ("denseclip/fpn_tiny_toyworld", "denseclip/denseclip_fpn_tiny_toyworld", "pretrain/clip_rn_tiny_toyworld")
SAVE_GOAL, LARGE_MIB = 1.2, 400
_COLUMNS = ("train img/s", "data ms", "forward ms", "backward ms", "eval img/s", "memory MiB", "file MiB", "save x")


class StepTimer(Hook):
    """Seconds of each step: waiting for data, forward (with preprocessing), backward (with the optimizer's step)."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.images = 0

    def before_train(self, runner: Any) -> None:
        """Time the optimizer wrapper's part of a step by itself."""
        update = runner.optim_wrapper.update_params

        def timed(*args: Any, **kwargs: Any) -> None:
            self.seconds["backward"].append(seconds(lambda: update(*args, **kwargs)))

        runner.optim_wrapper.update_params = timed
        self._last = time.perf_counter()

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """The batch is there."""
        now = time.perf_counter()
        self.seconds["data"].append(now - self._last)
        self._last = now

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """The step is done."""
        now = time.perf_counter()
        self.seconds["forward"].append(now - self._last - self.seconds["backward"][-1])
        self._last, self.images = now, len(data_batch["inputs"])

    def medians(self) -> dict[str, float]:
        """Median milliseconds of each part, the first two steps left out."""
        return {name: 1000 * statistics.median(values[2:]) for name, values in self.seconds.items()}


def measure(config: str, overrides: list[str], steps: int, batches: int) -> dict[str, float]:
    """Train, evaluate and save once; the columns of the table."""
    cfg = load_config(config, [*overrides, f"train_cfg.max_iters={steps}", f"train_cfg.val_interval={steps + 1}",
                               f"val_dataloader.num_batch_per_epoch={batches}"])
    with tempfile.TemporaryDirectory() as folder:
        complete(cfg, Path(folder), seed=0, device="auto", launcher="none")
        cfg.custom_hooks, timer = [], StepTimer()
        cfg.default_hooks = dict(checkpoint=None, curves=None)
        runner = Runner.from_cfg(cfg)
        runner.register_hook(timer, priority="VERY_LOW")
        memory = peak_mib(runner.train)
        parts, images = timer.medians(), timer.images
        evaluated = seconds(runner.val_loop.run)
        steady = resident_mib()
        saved = peak_mib(lambda: runner.save_checkpoint(folder, "saved.pth", by_epoch=False))
        size = (Path(folder) / "saved.pth").stat().st_size / MIB
        return {"train img/s": 1000 * images / sum(parts.values()), **{f"{k} ms": v for k, v in parts.items()},
                "eval img/s": len(runner.val_dataloader.dataset) / evaluated, "memory MiB": memory, "file MiB": size,
                "save x": (saved - steady) / size}


def save_cost(size_mib: int) -> float:
    """Memory that a checkpoint of this size takes on top of its tensors while it is written, over the file's size."""
    content = {"state_dict": {f"layer_{index}": torch.rand(MIB // 4) for index in range(size_mib)}}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "large.pth"
        steady = resident_mib()
        return (peak_mib(lambda: checkpoint.save(content, file)) - steady) / (file.stat().st_size / MIB)


def main() -> int:
    """One row a config; 1 when saving a checkpoint misses its goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configs", nargs="*", default=list(CONFIGS), metavar="CONFIG")
    parser.add_argument("--override", nargs="+", default=[], metavar="a.b=c")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batches", type=int, default=4, help="batches of the evaluation")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.alone:
        print(json.dumps(measure(args.configs[0], args.override, args.steps, args.batches)))
        return 0
    print(machine())
    print(f"{'config':42}" + "".join(f"{name:>12}" for name in _COLUMNS))
    missed = False
    for config in args.configs:
        command = [sys.executable, __file__, config, "--alone", "--steps", str(args.steps), "--batches",
                   str(args.batches), *(["--override", *args.override] if args.override else [])]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        row = json.loads(output.splitlines()[-1])
        missed |= row["save x"] > SAVE_GOAL
        print(f"{config:42}" + "".join(f"{row[name]:12.2f}" for name in _COLUMNS), flush=True)
    large = save_cost(LARGE_MIB)
    missed |= large > SAVE_GOAL
    print(f"a save of {LARGE_MIB} MiB: {large:.2f} x; at most {SAVE_GOAL} x the file: {'MISSED' if missed else 'met'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
