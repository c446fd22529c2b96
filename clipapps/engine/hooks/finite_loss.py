"""Names the batches whose loss or gradients are not finite, and stops after a few in a row."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook

from clipapps.engine import checkpoint
from clipapps.errors import ConfigError, NonFiniteLossError
from clipapps.registry import HOOKS

DUMP = "bad_batch.pth"


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Report each step that the optimizer wrapper skipped (see `FiniteGuard`), with the samples of its batch.

    Args:
        patience: this many skipped steps in a row end training.

    Raises:
        NonFiniteLossError: after `patience` steps in a row; the last batch's inputs are in `bad_batch.pth`.
    """

    priority = "VERY_HIGH"

    def __init__(self, patience: int = 5) -> None:
        if patience < 1:
            raise ConfigError(f"FiniteLossHook: patience is at least 1, not {patience}.")
        self.patience = patience
        self._in_a_row = 0

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None,
                         outputs: dict[str, Any] | None = None) -> None:
        """Look at the wrapper's word and at every entry of the log variables whose name contains "loss"."""
        name = next((name for name, value in (outputs or {}).items() if "loss" in name and not _is_finite(value)),
                    "the gradient" if getattr(runner.optim_wrapper, "was_skipped", False) else None)
        self._in_a_row = self._in_a_row + 1 if name else 0
        if name is None:
            return
        step, samples = runner.iter + 1, sample_indices(data_batch)
        print(f"step {step} skipped: {name} is not finite; samples {samples}", flush=True)
        if self._in_a_row >= self.patience:
            if runner.rank == 0:
                inputs = data_batch.get("inputs") if isinstance(data_batch, dict) else None
                checkpoint.save({"inputs": inputs, "sample_idx": samples}, Path(runner.work_dir) / DUMP)
            raise NonFiniteLossError(
                f"{name} is not finite at step {step}, the last of {self._in_a_row} such steps in a row. Lower the "
                "learning rate (optim_wrapper.optimizer.lr), clip gradients (optim_wrapper.clip_grad.max_norm=1), or "
                f"look at samples {samples}; the batch is in {Path(runner.work_dir) / DUMP}.")


def sample_indices(data_batch: Any) -> list[int]:
    """The stable `sample_idx` of each sample in a batch, where the data set gives one."""
    if not isinstance(data_batch, dict):
        return []
    indices = data_batch.get("sample_idx")
    if indices is None:
        indices = [getattr(sample, "sample_idx", None) for sample in data_batch.get("data_samples", [])]
    return [int(index) for index in indices if index is not None]


def _is_finite(value: Any) -> bool:
    return math.isfinite(float(value.detach() if isinstance(value, torch.Tensor) else value))
