"""Stops training when the loss is not finite."""

from __future__ import annotations

import math
from typing import Any

from mmengine.hooks import Hook

from clipapps.errors import NonFiniteLossError
from clipapps.registry import HOOKS


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Raise NonFiniteLossError as soon as a loss is not finite, before that step could be saved."""

    priority = "VERY_HIGH"

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None,
                         outputs: dict[str, Any] | None = None) -> None:
        """Look at every entry of the model's log variables whose name contains "loss"."""
        for name, value in (outputs or {}).items():
            number = float(value.detach() if hasattr(value, "detach") else value)
            if "loss" in name and not math.isfinite(number):
                raise NonFiniteLossError(
                    f"{name} is {number} at step {runner.iter + 1}. Lower the learning rate "
                    "(optim_wrapper.optimizer.lr), clip gradients (optim_wrapper.clip_grad.max_norm=1), or look at "
                    f"the batch: samples {sample_indices(data_batch)}.")


def sample_indices(data_batch: Any) -> list[int]:
    """The stable `sample_idx` of each sample in a batch, where the data set gives one."""
    samples = data_batch.get("data_samples", []) if isinstance(data_batch, dict) else data_batch or []
    indices = [getattr(sample, "sample_idx", None) for sample in samples]
    return [int(index) for index in indices if index is not None]
