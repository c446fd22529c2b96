"""Which checkpoint a run goes on from: the pointed one, or the newest that opens."""

from __future__ import annotations

import re
from pathlib import Path

from clipapps.engine.atomic import write_text
from clipapps.engine.checkpoint import load
from clipapps.errors import WeightsError

POINTER = "last_checkpoint"


def point_to(checkpoint: str | Path) -> None:
    """Make `checkpoint` the one its folder's pointer file names; the name is relative, so the folder can be moved."""
    file = Path(checkpoint)
    write_text(file.with_name(POINTER), file.name + "\n")


def pointed(folder: str | Path) -> Path | None:
    """The checkpoint that the folder's pointer file names, whether it opens or not; None without a pointer."""
    pointer = Path(folder) / POINTER
    name = pointer.read_text(encoding="utf-8").strip() if pointer.is_file() else ""
    return Path(folder) / Path(name).name if name else None


def newest(folder: str | Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint of a work folder that opens, and a sentence for each one that did not.

    The pointed checkpoint comes first, then the others from the latest step backwards.
    """
    complaints: list[str] = []
    first = pointed(folder)
    others = sorted(Path(folder).glob("*.pth"), key=step_of, reverse=True)
    for candidate in dict.fromkeys(([first] if first else []) + others):
        try:
            load(candidate)
            return candidate, complaints
        except WeightsError as error:
            complaints.append(str(error))
    return None, complaints


def step_of(path: Path) -> int:
    """The number in a checkpoint's name (`iter_300.pth` -> 300), -1 without one."""
    match = re.search(r"_(\d+)\.pth$", path.name)
    return int(match.group(1)) if match else -1
