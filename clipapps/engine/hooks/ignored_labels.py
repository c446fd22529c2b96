"""Says how often a training sample had no labeled pixel: such a sample teaches nothing, and nothing else tells."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook

from clipapps.engine.hooks.finite_loss import sample_indices
from clipapps.registry import HOOKS

_SHOWN = 10


@HOOKS.register_module()
class IgnoredLabelsHook(Hook):
    """Count the drawn segmentation samples whose pixels are all ignored; their loss is 0 and moves nothing.

    The first one is told when it comes, the number of all at the end of training. Samples without a segmentation are
    left alone. In several processes the first one's samples are counted.

    Args:
        ignore_index: the label of pixels that do not count.
    """

    priority = "LOW"

    def __init__(self, ignore_index: int = 255) -> None:
        self.ignore_index = ignore_index
        self.count = 0
        self._drawn = 0
        self._indices: list[int] = []

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Look at the labels."""
        samples = data_batch.get("data_samples", []) if isinstance(data_batch, dict) else []
        labeled = [sample for sample in samples if hasattr(sample, "gt_sem_seg")]
        empty = [sample for sample in labeled if self._is_ignored(sample.gt_sem_seg.data)]
        self._drawn += len(labeled)
        if not empty:
            return
        if not self.count and runner.rank == 0:
            print(f"step {runner.iter + 1}: {len(empty)} of {len(labeled)} samples have no labeled pixel (all are "
                  f"{self.ignore_index}); they add nothing to the loss", flush=True)
        self.count += len(empty)
        self._indices += sample_indices({"data_samples": empty})

    def after_train(self, runner: Any) -> None:
        """Say how many there were."""
        if self.count and runner.rank == 0:
            indices = list(dict.fromkeys(self._indices))
            which = f"; samples {indices[:_SHOWN]}{' and more' if len(indices) > _SHOWN else ''}" if indices else ""
            print(f"{self.count} of {self._drawn} samples drawn had no labeled pixel{which}.", flush=True)

    def _is_ignored(self, labels: torch.Tensor) -> bool:
        return bool((labels == self.ignore_index).all())
