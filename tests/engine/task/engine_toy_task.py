"""A task small enough to train in a second: a perceptron with dropout and batch norm that learns the sign of a sum."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from torch import nn

from clipapps.errors import BadSampleError


class ToyModel(BaseModel):
    """Two-class perceptron; its loss is NaN at the steps in `poison`, its gradient at those in `burst`.

    `hungry` is a step and how it runs out of memory: "host" or "device" in the forward pass, or "backward".
    """

    def __init__(self, width: int = 8, dropout: float = 0.1, poison: tuple = (), burst: tuple = (),
                 norm: bool = True, depth: int = 2, hungry: tuple = ()) -> None:
        super().__init__()
        more = [nn.Linear(2, 2) for _ in range(depth - 2)]
        self.net = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width) if norm else nn.Identity(), nn.ReLU(),
                                 nn.Dropout(dropout), nn.Linear(width, 2), *more)
        self.poison = poison
        self.hungry = hungry
        self.burst = burst
        self.initialized = 0
        self.steps = 0

    def init_weights(self) -> None:
        self.initialized += 1

    def forward(self, inputs, label, sample_idx=None, mode="tensor"):
        logits = self.net(torch.stack(list(inputs)))
        label = torch.as_tensor(label)
        if mode == "loss":
            self.steps += 1
            if self.steps in self.burst:
                logits.register_hook(lambda gradient: gradient * float("inf"))
            loss = nn.functional.cross_entropy(logits, label)
            how = self.hungry[1] if self.hungry and self.hungry[0] == self.steps else None
            if how == "backward":
                logits.register_hook(lambda gradient: exhaust("host"))
            elif how:
                exhaust(how)
            return dict(loss=loss * float("nan") if self.steps in self.poison else loss)
        return [dict(pred=int(p), label=int(t), logits=row)
                for p, t, row in zip(logits.argmax(1), label, logits, strict=True)]


def exhaust(memory: str) -> None:
    """Ask the allocator for a petabyte, or fail as the accelerator's does."""
    if memory == "device":
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has ...")
    torch.empty(2**50, dtype=torch.uint8)


class Strict:
    """Refuses odd sizes without a word."""

    def __init__(self, size: int) -> None:
        assert size % 2 == 0
        self.ratio = 1 / size


class ToyData(torch.utils.data.Dataset):
    """`size` points; `augment` adds noise from all three random generators; samples in `bad` cannot be read."""

    metainfo = dict(classes=("negative", "positive"))

    def __init__(self, size: int = 16, augment: bool = False, bad: tuple = ()) -> None:
        self.bad = bad
        self.size = size
        self.augment = augment

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> dict:
        if index in self.bad:
            raise BadSampleError(f"sample_{index}.png cannot be decoded.")
        x = torch.randn(4, generator=torch.Generator().manual_seed(index))
        label = int(x.sum() > 0)
        if self.augment:
            import random

            x = x + 0.1 * torch.randn(4) + 0.1 * random.gauss(0, 1) + 0.1 * float(np.random.randn())
        return dict(inputs=x, label=label, sample_idx=index)


class TroubledData(ToyData):
    """ToyData whose sample `at` is in `trouble` for its first `times` draws in a worker.

    Args:
        trouble: "kill", "hang", or "raise".
        at: the sample.
        times: how often; counted in the file `counter`, for the process may not live to remember.
        counter: that file.
    """

    def __init__(self, trouble: str, at: int, times: int, counter: str, **more) -> None:
        super().__init__(**more)
        self.trouble, self.at, self.times, self.counter = trouble, at, times, counter

    def __getitem__(self, index: int) -> dict:
        if index == self.at and torch.utils.data.get_worker_info() is not None:
            with open(self.counter, "a+") as file:
                file.seek(0)
                is_over = len(file.read()) >= self.times
                file.write("" if is_over else "x")
            if not is_over:
                self.be_in_trouble()
        return super().__getitem__(index)

    def be_in_trouble(self) -> None:
        if self.trouble == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.trouble == "hang":
            time.sleep(1000)
        raise ValueError("bad size")


class ToyMetric(BaseMetric):
    """Fraction of right answers."""

    default_prefix = None

    def process(self, data_batch, data_samples) -> None:
        self.results += [sample["pred"] == sample["label"] for sample in data_samples]

    def compute_metrics(self, results: list) -> dict:
        return {"accuracy": sum(results) / len(results), "per/class": 0.5}


class BarPainter:
    """Paints the answer as a gray level, or fails for a given reason."""

    def __init__(self, reason: str = "") -> None:
        self.reason = reason

    def paint(self, inputs, sample, dataset_meta) -> np.ndarray:
        if self.reason:
            raise RuntimeError(self.reason)
        return np.full((8, 12, 3), 40 + 100 * sample["pred"], np.uint8)
