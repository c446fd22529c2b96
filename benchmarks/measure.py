"""What the benchmarks share: wall times, peak memory, and a line about the machine."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

MIB = 2**20


def seconds(run: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def median_seconds(run: Callable[[], object], runs: int) -> float:
    """Median wall time of `runs` calls, after one that is not counted."""
    run()
    return statistics.median(seconds(run) for _ in range(runs))


def paired(first: Callable[[], object], second: Callable[[], object], pairs: int) -> tuple[float, float, float]:
    """Median seconds of two calls made in turn, and the median of second / first, pair by pair.

    In turn, so that a change of the machine's speed hits both; the ratio is the figure to trust on a busy machine.
    """
    first(), second()
    measured = [(seconds(first), seconds(second)) for _ in range(pairs)]
    return (statistics.median(a for a, _ in measured), statistics.median(b for _, b in measured),
            statistics.median(b / a for a, b in measured))


def resident_mib() -> float:
    """Memory of this process that lies in RAM now, in MiB."""
    return _status("VmRSS")


def peak_mib(run: Callable[[], object]) -> float:
    """The most memory of this process, in MiB, while `run` ran; Linux only.

    Linux keeps the peak of the whole process; writing 5 to `clear_refs` starts it anew.
    """
    Path("/proc/self/clear_refs").write_text("5")
    run()
    return _status("VmHWM")


def machine() -> str:
    """One line: torch, threads, cores, GPU, and how busy the machine was in the last minute."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (f"torch {torch.__version__}, {torch.get_num_threads()} threads of {os.cpu_count()} CPU cores, {gpu}, "
            f"load {os.getloadavg()[0]:.1f}")


def _status(key: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{key}:"))
    return int(line.split()[1]) / 1024
