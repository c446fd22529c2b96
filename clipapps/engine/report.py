"""The few lines printed at the end of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clipapps.engine.seeding import noted_bad_samples

_SHOWN = 10
_FACTS = ("config", "seed", "iterations", "seconds", "device")


def print_results(metrics: dict[str, Any], folder: Path) -> None:
    """Print the metrics as a short table (single classes stay in the file), and where files and pictures lie."""
    numbers = {name: value for name, value in metrics.items() if name not in _FACTS and "/" not in name}
    width = max((len(name) for name in numbers), default=0)
    print()
    for name, value in numbers.items():
        print(f"  {name:<{width}}  {value:.4f}")
    print("  " + ", ".join(f"{name} {metrics[name]}" for name in _FACTS if name in metrics))
    for label, name in (("metrics", "metrics.json"), ("curves", "curves.png"), ("pictures", "pictures")):
        if (folder / name).exists():
            print(f"  {label + ':':<9} {folder / name}")


def print_bad_samples(file: Path) -> None:
    """Print how many samples were skipped because they are bad, and the reasons of the first few, which name files."""
    reasons = list(noted_bad_samples(file).values())
    if not reasons:
        return
    print(f"{len(reasons)} bad sample{'s were' if len(reasons) > 1 else ' was'} skipped:", flush=True)
    for reason in reasons[:_SHOWN]:
        print(f"  {reason}", flush=True)
    if len(reasons) > _SHOWN:
        print(f"  and {len(reasons) - _SHOWN} more", flush=True)
    print(f"  {file} lists {'them all' if len(reasons) > 1 else 'it'}.", flush=True)
