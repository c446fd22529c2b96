"""Start-up times of whole processes: `python benchmarks/startup.py`. Goals: import 0.3 s, --help 0.7 s (medians)."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

PROCESSES = {
    "python -c pass": (["-c", "pass"], None),
    "import clipapps": (["-c", "import clipapps"], 0.3),
    "clipapps --help": (["-m", "clipapps", "--help"], 0.7),
    "clipapps train --help": (["-m", "clipapps", "train", "--help"], None),
    "clipapps list projects": (["-m", "clipapps", "list", "projects"], None),
}


def measure(arguments: list[str], runs: int) -> list[float]:
    """Seconds of each of `runs` processes, after one that is not counted (it fills the disk cache)."""
    seconds = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def main() -> int:
    """Print median and range of each process; 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    missed = False
    for name, (arguments, goal) in PROCESSES.items():
        seconds = measure(arguments, runs)
        median = statistics.median(seconds)
        missed |= goal is not None and median > goal
        wanted = "" if goal is None else f"  goal {goal} s: {'met' if median <= goal else 'MISSED'}"
        print(f"{name:24} median {median:.3f} s  ({min(seconds):.3f} to {max(seconds):.3f}, {runs} runs){wanted}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
