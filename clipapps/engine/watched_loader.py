"""A data loader that survives one lost worker, and says which sample a worker was at when it was lost.

torch's own loader ends the run when a worker is killed, wherever training happens to be, and waits for ever for one
that hangs. Here the batches that were asked for and have not come are asked for again from new workers, once.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader
from torch.utils.data._utils import signal_handling
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from clipapps.errors import WorkerError

PATIENCE = 60.0  # seconds that a batch may take before its worker counts as hung
_POLL = 1.0
_KEPT = ("dataset", "num_workers", "collate_fn", "pin_memory", "timeout", "worker_init_fn", "multiprocessing_context",
         "generator", "prefetch_factor", "persistent_workers")


class WatchedLoader(DataLoader):
    """A DataLoader with workers; one of them may be killed or hang once without any effect on the batches.

    `timeout` is how long a batch may take. The data set leaves the sample that each worker is at in its `held`, a
    tensor in shared memory with one entry a worker, -1 between samples (see `SeededDataset`).

    Raises:
        WorkerError: while iterating, when workers are lost a second time; names worker and sample.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._draws: _Draws | None = None
        self._open: list[_WatchedIterator] = []
        self._restarts = 0

    @classmethod
    def like(cls, loader: DataLoader) -> WatchedLoader:
        """The same loader, watched."""
        options = {name: getattr(loader, name) for name in _KEPT}
        if loader.batch_size is None:
            return cls(batch_sampler=loader.batch_sampler, **options)
        return cls(sampler=loader.sampler, batch_size=loader.batch_size, drop_last=loader.drop_last, **options)

    @property
    def _index_sampler(self) -> Any:
        """What the workers' iterator draws from."""
        return self._draws if getattr(self, "_draws", None) is not None else super()._index_sampler

    def __iter__(self) -> Any:
        draws = self._draws if self.persistent_workers and self._draws else _Draws(self._sampler_of_torch())
        draws.begin()
        iterator = self._start(draws)
        try:
            while True:
                try:
                    batch = next(iterator)
                except StopIteration:
                    return
                except (RuntimeError, OSError, EOFError) as error:  # a worker's last batch may break off on its way
                    self._restart_or_stop(iterator, error)
                    draws.repeat()
                    iterator = self._start(draws)
                    continue
                draws.arrived()
                yield batch
        finally:
            if not self.persistent_workers:
                self._end(iterator)

    def close(self) -> None:
        """End the workers now, not when the garbage is collected."""
        for iterator in list(self._open):
            self._end(iterator)

    def _sampler_of_torch(self) -> Any:
        self._draws = None
        return self._index_sampler

    def _start(self, draws: _Draws) -> _WatchedIterator:
        self._draws = draws
        if self.persistent_workers and self._open:
            self._open[0]._reset(self)
        else:
            self._open.append(_WatchedIterator(self))
        return self._open[-1]

    def _end(self, iterator: _WatchedIterator) -> None:
        iterator._shutdown_workers()
        if iterator in self._open:
            self._open.remove(iterator)

    def _restart_or_stop(self, iterator: _WatchedIterator, error: Exception) -> None:
        """Note a lost worker and end the others; every other error, and a second lost worker, goes out."""
        if isinstance(error, _HungError):
            lost, how = [error.worker], f"gave no batch for {self.timeout:g} s"
        else:
            lost, how = iterator.lost_workers(), "ended unexpectedly"
        if not lost:
            raise error
        held = getattr(self.dataset, "held", None)
        said = "; ".join(f"data worker {worker} {how}{_at(held, worker)}" for worker in lost)
        iterator.kill(lost)
        self._end(iterator)
        if self._restarts:
            raise WorkerError(
                f"{said[0].upper()}{said[1:]}, and workers had been restarted before. Look at that sample; "
                "num_workers=0 shows an error where it happens, timeout=300 waits longer, and a worker that the system "
                "kills for its memory needs fewer workers.") from error
        self._restarts += 1
        print(f"{said}: the workers are started once more, and nothing is lost", file=sys.stderr, flush=True)


class _HungError(RuntimeError):
    """No batch has come in time."""

    def __init__(self, worker: int) -> None:
        super().__init__(f"data worker {worker} hangs")
        self.worker = worker


class _WatchedIterator(_MultiProcessingDataLoaderIter):
    """torch's iterator over workers, whose death is noticed where a batch is waited for and nowhere else."""

    def __init__(self, loader: WatchedLoader) -> None:
        super().__init__(loader)
        signal_handling._remove_worker_pids(id(self))  # else a signal handler raises in the midst of a training step
        self._worker_pids_set = False

    def _get_data(self) -> Any:
        started = time.monotonic()
        while True:
            has_come, data = self._try_get_data(_POLL)
            if has_come:
                return data
            if self._timeout and time.monotonic() - started > self._timeout:
                raise _HungError(self._task_info[self._rcvd_idx][0])

    def lost_workers(self) -> list[int]:
        """Numbers of the workers that are no more; one that is about to end is waited for."""
        deadline = time.monotonic() + _POLL
        while all(worker.is_alive() for worker in self._workers) and time.monotonic() < deadline:
            time.sleep(_POLL / 20)
        return [number for number, worker in enumerate(self._workers) if not worker.is_alive()]

    def kill(self, numbers: list[int]) -> None:
        """End workers that may not listen any more."""
        for number in numbers:
            self._workers[number].kill()
            self._workers[number].join(_POLL)


class _Draws:
    """A sampler whose draws are remembered until their batches have come, so that they can be drawn again."""

    def __init__(self, sampler: Any) -> None:
        self._sampler = sampler
        self._source: Iterator[Any] = iter(())
        self._waiting: deque[Any] = deque()
        self._again: list[Any] = []

    def __len__(self) -> int:
        return len(self._sampler)

    def __iter__(self) -> Iterator[Any]:
        again, self._again = self._again, []
        for draw in again:
            self._waiting.append(draw)
            yield draw
        for draw in self._source:
            self._waiting.append(draw)
            yield draw

    def begin(self) -> None:
        """Start an epoch."""
        self._source = iter(self._sampler)
        self._waiting.clear()
        self._again = []

    def arrived(self) -> None:
        """The batch of the oldest draw has come."""
        self._waiting.popleft()

    def repeat(self) -> None:
        """The next iteration begins with the draws whose batches have not come."""
        self._again = list(self._waiting)
        self._waiting.clear()


def _at(held: torch.Tensor | None, worker: int) -> str:
    index = -1 if held is None else int(held[worker])
    return f" at sample {index}" if index >= 0 else ""
