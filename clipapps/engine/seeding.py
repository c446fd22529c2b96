"""Randomness that neither worker count, prefetching, nor a restart can change.

Sample randomness is a function: the sampler numbers its draws, and the data set seeds python, numpy and torch from
(seed, number) for each one. Model randomness is a state: it is captured in checkpoints and put back.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import get_worker_info

from clipapps.errors import BadSampleError, ClipAppsError, SampleError, is_out_of_memory

BAD_SAMPLES = "bad_samples.jsonl"


def capture_random_state() -> dict[str, Any]:
    """The states of python's, numpy's and torch's generators (CPU and every CUDA device), as plain values."""
    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = cast(tuple[str, np.ndarray, int, int, float], np.random.get_state())
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
        bad_samples: None lets a BadSampleError out; a file lists the bad samples there and takes another sample in
            place of each, which depends on seed and draw alone.

    Raises:
        BadSampleError: a sample is bad, or, where they are skipped, more than 1 % of the set (and at least 3) are.
        SampleError: preparing a sample raised anything else; names sample and worker.
    """

    def __init__(self, dataset: Any, seed: int, bad_samples: Path | None = None) -> None:
        self.wrapped = dataset
        self.seed = seed
        self.bad_samples = bad_samples
        self.held: torch.Tensor | None = None

    def watch(self, workers: int) -> None:
        """Keep in `held` (shared memory, one entry a worker) the sample that each worker is at, -1 between samples."""
        self.held = torch.full((workers,), -1).share_memory_()

    def __len__(self) -> int:
        return len(self.wrapped)

    def __getitem__(self, key: int) -> Any:
        number, index = divmod(int(key), len(self.wrapped))
        attempt = 0
        while True:
            try:
                with seeded(self.seed, number, *([attempt] if attempt else [])):
                    return self._sample(index)
            except BadSampleError as error:
                if self.bad_samples is None:
                    raise
                self._note(index, error, self.bad_samples)
            attempt += 1
            index = int(np.random.SeedSequence((self.seed, number, attempt)).generate_state(1)[0]) % len(self.wrapped)

    def _sample(self, index: int) -> Any:
        worker = get_worker_info()
        if worker is not None and self.held is not None:
            self.held[worker.id] = index
        try:
            return self.wrapped[index]
        except Exception as error:
            if isinstance(error, (ClipAppsError, ImportError)) or is_out_of_memory(error):
                raise
            where = f" (data worker {worker.id})" if worker else ""
            raise SampleError(f"Sample {index} cannot be prepared{where}: {type(error).__name__}: {error}. Its file or "
                              "the data set's code is at fault; --traceback shows where.") from error
        finally:
            if worker is not None and self.held is not None:
                self.held[worker.id] = -1

    def _note(self, index: int, error: BadSampleError, file: Path) -> None:
        """List a bad sample once, and give up when there are too many; every worker appends to the one file."""
        known = noted_bad_samples(file)
        if index in known:
            return
        allowed = max(3, len(self.wrapped) // 100)
        if len(known) >= allowed:
            raise BadSampleError(f"{len(known) + 1} of {len(self.wrapped)} samples are bad, and at most {allowed} are "
                                 f"skipped. They are listed in {file}; the last one: {error}") from error
        with open(file, "a", encoding="utf-8") as stream:
            stream.write(json.dumps({"index": index, "reason": str(error)}) + "\n")

    def __getattr__(self, name: str) -> Any:
        if name in ("wrapped", "seed", "bad_samples", "held") or name.startswith("__"):  # while unpickling in a worker
            raise AttributeError(name)
        return getattr(self.wrapped, name)

    def __deepcopy__(self, memo: dict[int, Any]) -> SeededDataset:
        return self  # mmengine copies a loader's config, and the data may be large


def noted_bad_samples(file: Path | None) -> dict[int, str]:
    """Index -> reason of every bad sample that a run has skipped."""
    if file is None or not file.is_file():
        return {}
    records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    return {record["index"]: record["reason"] for record in records}


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
