"""`curves.png`: losses and metrics over the steps."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from clipapps.engine.atomic import atomic_file
from clipapps.engine.config_name import name_of
from clipapps.engine.hooks.progress import SCALARS
from clipapps.registry import HOOKS
from clipapps.visualization.curves import draw_curves, read_scalars


@HOOKS.register_module()
class CurvesHook(Hook):
    """Draw `curves.png` from `scalars.jsonl` after validations and at the end of training.

    Args:
        pause: seconds between two drawings, at least; the last one is always made.
    """

    priority = "LOWEST"

    def __init__(self, pause: float = 60.0) -> None:
        self.pause = pause
        self._drawn = float("-inf")

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Draw, unless it was done a moment ago; the last validation of a run always shows."""
        is_last = runner.train_loop is None or runner.iter >= runner.max_iters
        if is_last or time.monotonic() - self._drawn > self.pause:
            self._draw(runner)

    def after_train(self, runner: Any) -> None:
        """Draw where no validation has done it."""
        if runner.val_loop is None:
            self._draw(runner)

    def _draw(self, runner: Any) -> None:
        scalars = Path(runner.work_dir) / SCALARS
        if runner.rank == 0 and scalars.is_file():
            with atomic_file(Path(runner.work_dir) / "curves.png") as stream:
                draw_curves(read_scalars(scalars), stream, title=name_of(runner.cfg))
            self._drawn = time.monotonic()
