"""Pictures of predictions while training: always the same few samples of the validation set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from mmengine.hooks import Hook

from clipapps.data.images import png_bytes
from clipapps.engine.atomic import atomic_file
from clipapps.errors import ConfigError
from clipapps.registry import HOOKS, VISUALIZERS


@HOOKS.register_module()
class SamplePictureHook(Hook):
    """After each validation (and test) leave the newest pictures of a few fixed samples in `pictures/`.

    Samples are spread evenly over the set, and a picture is overwritten by the next validation, so that the folder
    never holds more than `count`. A painter that fails does not stop training; the log says why.

    Args:
        painter: has `paint(inputs, sample, dataset_meta) -> (H, W, 3) uint8 RGB`; a config or an object, for example
            `dict(type=SegmentationPainter)`.
        count: how many pictures.
        interval: draw at every n-th validation; the last one always draws.
    """

    priority = "LOW"

    def __init__(self, painter: Any, count: int = 6, interval: int = 1) -> None:
        if count < 1 or interval < 1:
            raise ConfigError(f"SamplePictureHook: count and interval are at least 1, not {count} and {interval}.")
        self.painter = VISUALIZERS.build(painter) if isinstance(painter, dict) else painter
        self.count = count
        self.interval = interval
        self._validations = 0
        self._wanted: dict[int, int] = {}

    def before_val_epoch(self, runner: Any) -> None:
        """Choose the samples; none when this validation is not drawn."""
        is_last = runner.train_loop is None or runner.iter >= runner.max_iters
        self._wanted = {}
        if is_last or self._validations % self.interval == 0:
            self._choose(runner.val_dataloader)
        self._validations += 1

    def before_test_epoch(self, runner: Any) -> None:
        """Choose the samples."""
        self._choose(runner.test_dataloader)

    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Paint the chosen samples of this batch."""
        self._paint(runner, runner.val_dataloader, batch_idx, data_batch, outputs)

    def after_test_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Paint the chosen samples of this batch."""
        self._paint(runner, runner.test_dataloader, batch_idx, data_batch, outputs)

    def _choose(self, loader: Any) -> None:
        size = len(loader.dataset)
        places = np.linspace(0, size - 1, min(self.count, size)).round().astype(int)
        self._wanted = {int(place): number for number, place in enumerate(dict.fromkeys(places.tolist()))}

    def _paint(self, runner: Any, loader: Any, batch_idx: int, data_batch: Any, outputs: Any) -> None:
        if runner.rank != 0 or not self._wanted or not outputs:
            return
        first = batch_idx * (loader.batch_size or len(outputs))
        for index, sample in enumerate(outputs):
            number = self._wanted.get(first + index)
            if number is None:
                continue
            try:
                picture = self.painter.paint(data_batch["inputs"][index], sample, loader.dataset.metainfo)
            except Exception as error:
                runner.logger.error("no picture of sample %d: %s: %s", first + index, type(error).__name__, error)
                continue
            with atomic_file(Path(runner.work_dir) / "pictures" / f"sample_{number:02d}.png") as stream:
                stream.write(png_bytes(picture))
