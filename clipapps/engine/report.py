"""The few lines printed at the end of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
