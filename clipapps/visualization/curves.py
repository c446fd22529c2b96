"""Losses and metrics of a run as one figure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

_MAX_LINES = 8


def read_scalars(path: str | Path) -> list[dict[str, Any]]:
    """The records of a `scalars.jsonl`; a last line that was cut short is left out."""
    records = []
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records


def curve_groups(records: Iterable[Mapping[str, Any]]) -> list[tuple[str, dict[str, tuple[list[float], list[float]]]]]:
    """What belongs into one figure each, (title, name -> (steps, values)): losses, validation, learning rate.

    >>> curve_groups([{"mode": "train", "step": 5, "loss": 0.5}])
    [('loss', {'loss': ([5], [0.5])})]
    """
    records = list(records)
    groups = [("loss", _series(records, "train", lambda name: "loss" in name)),
              ("validation", _series(records, "val", lambda name: "/" not in name)),
              ("learning rate", _series(records, "train", lambda name: name == "lr"))]
    return [(label, lines) for label, lines in groups if lines]


def draw_curves(records: Iterable[Mapping[str, Any]], stream: IO[bytes], title: str = "") -> None:
    """Write a PNG of the training losses, the validation metrics and the learning rate over the steps."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    groups = curve_groups(records) or [("nothing logged", {})]
    figure = Figure(figsize=(4.2 * len(groups), 3.2), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (label, lines) in zip(figure.subplots(1, len(groups), squeeze=False)[0], groups, strict=True):
        for name, (steps, values) in lines.items():
            axes.plot(steps, values, label=name, linewidth=1.3, marker="o" if len(steps) < 12 else None, markersize=3)
        axes.set_title(label, fontsize=10)
        axes.set_xlabel("step", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
        if lines:
            axes.legend(fontsize=8)
    if title:
        figure.suptitle(title, fontsize=11)
    figure.savefig(stream, format="png")


def _series(records: list[Mapping[str, Any]], mode: str, wanted: Any) -> dict[str, tuple[list[float], list[float]]]:
    """Name -> (steps, values) for the wanted numbers of one mode; at most `_MAX_LINES` names, as they appear."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for record in records:
        if record.get("mode") != mode:
            continue
        for name, value in record.items():
            if name not in ("mode", "step") and wanted(name) and isinstance(value, (int, float)):
                if name not in found and len(found) == _MAX_LINES:
                    continue
                steps, values = found.setdefault(name, ([], []))
                steps.append(record["step"])
                values.append(value)
    if "loss" in found and len(found) == 2:  # a single part is the loss itself
        found = {"loss": found["loss"]}
    return found
