"""Which checkpoint a run goes on from, and whether its config still fits."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipapps.engine.atomic import write_text
from clipapps.engine.checkpoint import load
from clipapps.errors import ConfigError, WeightsError

if TYPE_CHECKING:
    from mmengine import Config

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


def config_changes(old: Config, new: Config) -> list[str]:
    """The lines in which two configs differ, "- " as it was and "+ " as it is now.

    Raises:
        ConfigError: the models are built of other parts, so that a checkpoint of the old one does not fit the new.
    """
    was, now = _parts(old.get("model")), _parts(new.get("model"))
    if was != now:
        differing = sorted(key for key in was.keys() | now.keys() if was.get(key) != now.get(key))
        raise ConfigError(f"The run was started with another model; {', '.join(differing[:6])} "
                          f"{'differs' if len(differing) == 1 else 'differ'}. Resume with the config.py of the run, or "
                          "start a new run from its weights with load_from=....")
    diff = difflib.ndiff(old.pretty_text.splitlines(), new.pretty_text.splitlines())
    return [line for line in diff if line.startswith(("- ", "+ "))]


def _parts(node: Any, path: str = "model") -> dict[str, str]:
    """Every key of a model config, with the class where it names one; values may change, parts may not."""
    if isinstance(node, (list, tuple)):
        return {key: kind for index, item in enumerate(node) for key, kind in _parts(item, f"{path}.{index}").items()}
    if not isinstance(node, Mapping):
        return {}
    found = {}
    for key, value in node.items():
        found[f"{path}.{key}"] = str(value).rpartition(".")[2].rstrip("'>") if key == "type" else ""
        found.update(_parts(value, f"{path}.{key}"))
    return found
