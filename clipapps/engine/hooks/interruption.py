"""Saves and stops when a signal has come."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook

from clipapps.engine.interruption import Stopped
from clipapps.engine.resume import point_to, pointed
from clipapps.registry import HOOKS


@HOOKS.register_module()
class InterruptionHook(Hook):
    """After a SIGINT or SIGTERM save a checkpoint at the end of the step, say how to go on, and stop.

    Within a validation, and in an epoch-based loop, nothing new is saved: training goes on from the last checkpoint.
    """

    priority = "LOWEST"

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Save and stop."""
        number = self._signal(runner)
        if not number:
            return
        if "Epoch" not in type(runner.train_loop).__name__:
            name = f"iter_{runner.iter + 1}.pth"
            if (newest := pointed(runner.work_dir)) is None or newest.name != name:
                runner.save_checkpoint(runner.work_dir, name, by_epoch=False)
                if runner.rank == 0:
                    point_to(Path(runner.work_dir) / name)
        self._stop(runner, number)

    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Stop."""
        if runner.train_loop is not None and (number := self._signal(runner)):
            self._stop(runner, number)

    def _signal(self, runner: Any) -> int:
        """The number of the signal that any process has got, 0 without one; all processes stop at the same step."""
        number = int(runner.interruption.signal or 0)
        if runner.world_size > 1:
            flag = torch.tensor(number)
            all_reduce(flag, op="max")
            number = int(flag)
        return number

    def _stop(self, runner: Any, number: int) -> None:
        if runner.rank == 0:
            newest = pointed(runner.work_dir)
            state = f"{newest.name} is saved" if newest else "nothing was saved yet"
            print(f"\nStopped at step {runner.iter + 1}; {state}. Go on with:\n"
                  f"  clipapps train {runner.work_dir}/config.py --work-dir {runner.work_dir} --resume",
                  file=sys.stderr, flush=True)
        raise Stopped(128 + number)
