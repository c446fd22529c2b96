"""Randomness that neither worker count, prefetching, nor a restart can change.

Sample randomness is a function: the sampler numbers its draws, and the data set seeds python, numpy and torch from
(seed, number) for each one. Model randomness is a state: it is captured in checkpoints and put back.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def capture_random_state() -> dict[str, Any]:
    """The states of python's, numpy's and torch's generators (CPU and every CUDA device), as plain values."""
    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "python": [version, list(internal), gauss],
        "numpy": [name, keys.astype(np.int64).tolist(), int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Put back what `capture_random_state` returned; CUDA states only where the number of devices is the same."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


@contextmanager
def seeded(*entropy: int) -> Iterator[None]:
    """Inside the block python, numpy and torch (CPU) draw from `entropy` alone; afterwards they go on as before.

    >>> with seeded(1, 2):
    ...     a = random.random()
    >>> with seeded(1, 2):
    ...     print(a == random.random())
    True
    """
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    words = np.random.SeedSequence(entropy).generate_state(4)
    random.seed(int(words[0]) << 32 | int(words[1]))
    np.random.seed(words)
    torch.default_generator.manual_seed(int(words[2]) << 32 | int(words[3]))
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])


class SeededDataset:
    """A data set whose sample `number * len + index` is sample `index` with the randomness of draw `number`.

    Everything else is the wrapped data set's; plain indices work too and are draw 0.

    Args:
        dataset: what to wrap.
        seed: of the run; the same draw of another seed is another sample.
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        self.wrapped = dataset
        self.seed = seed

    def __len__(self) -> int:
        return len(self.wrapped)

    def __getitem__(self, key: int) -> Any:
        number, index = divmod(int(key), len(self.wrapped))
        with seeded(self.seed, number):
            return self.wrapped[index]

    def __getattr__(self, name: str) -> Any:
        if name in ("wrapped", "seed") or name.startswith("__"):  # while unpickling in a spawned worker
            raise AttributeError(name)
        return getattr(self.wrapped, name)

    def __deepcopy__(self, memo: dict[int, Any]) -> SeededDataset:
        return self  # mmengine copies a loader's config, and the data may be large


class NumberedSampler:
    """A sampler that numbers its draws: index -> `number * length + index`; wraps index and batch samplers alike.

    Draws are numbered over the whole run and over all processes, so that no two of them share their randomness.

    Args:
        sampler: yields indices, or lists of them.
        length: of the data set.
        rank, world_size: of this process.
    """

    def __init__(self, sampler: Any, length: int, rank: int = 0, world_size: int = 1) -> None:
        self.wrapped = sampler
        self.length = length
        self.rank = rank
        self.world_size = world_size
        self._drawn = 0

    def __len__(self) -> int:
        return len(self.wrapped)

    def __iter__(self) -> Iterator[Any]:
        number = self._drawn
        for draw in self.wrapped:
            if isinstance(draw, (list, tuple)):
                yield [self._key(number + offset, index) for offset, index in enumerate(draw)]
                number += len(draw)
            else:
                yield self._key(number, draw)
                number += 1

    def set_epoch(self, epoch: int) -> None:
        """Start an epoch: its draws are numbered after those of all epochs before it."""
        self._drawn = epoch * self.length
        inner = self.wrapped if hasattr(self.wrapped, "set_epoch") else getattr(self.wrapped, "sampler", None)
        if hasattr(inner, "set_epoch"):
            inner.set_epoch(epoch)

    @property
    def sampler(self) -> NumberedSampler:
        """Itself: mmengine announces an epoch to a batch sampler's sampler, and the numbering must hear of it."""
        return self

    def __getattr__(self, name: str) -> Any:
        if name == "wrapped" or name.startswith("__"):
            raise AttributeError(name)
        if name == "skip":
            return self._skipper(self.wrapped.skip)
        return getattr(self.wrapped, name)

    def __deepcopy__(self, memo: dict[int, Any]) -> NumberedSampler:
        return self

    def _skipper(self, skip: Any) -> Any:
        """`skip(n)` of the wrapped sampler, which also moves the numbering; absent where that has none."""
        def skip_draws(count: int) -> None:
            skip(count)
            self._drawn = count

        return skip_draws

    def _key(self, number: int, index: int) -> int:
        return (number * self.world_size + self.rank) * self.length + int(index)
