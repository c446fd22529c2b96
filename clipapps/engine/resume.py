"""Which checkpoint a run goes on from, and whether its config still fits."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipapps.engine.atomic import write_text
from clipapps.engine.checkpoint import load, mismatch_table, state_dict_of
from clipapps.errors import ConfigError, WeightsError

if TYPE_CHECKING:
    from mmengine import Config
    from torch import nn

POINTER = "last_checkpoint"
_SHOWN = 6
_WITHOUT_WEIGHTS = {"grad_checkpoint", "with_cp"}  # arguments of a model that change its speed and memory alone


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


def print_config_changes(old: Config, new: Config, *, is_forced: bool = False) -> None:
    """Print the lines in which two configs differ, "- " as it was and "+ " as it is now.

    Raises:
        ConfigError: the models are built of other parts, so that a checkpoint of the old one does not fit the new.
    """
    was, now = _parts(old.get("model")), _parts(new.get("model"))
    if was != now and not is_forced:
        differing = sorted(key for key in was.keys() | now.keys() if was.get(key) != now.get(key))
        raise ConfigError(f"The run was started with another model; {', '.join(differing[:_SHOWN])} "
                          f"{'differs' if len(differing) == 1 else 'differ'}. Resume with the config.py of the run, go "
                          "on with the weights that fit (--force), or start a new run from its weights "
                          "(load_from=...).")
    diff = difflib.ndiff(old.pretty_text.splitlines(), new.pretty_text.splitlines())
    changes = [line for line in diff if line.startswith(("- ", "+ "))]
    if changes:
        print("\n".join(["The config has changed since the run began:", *changes]), flush=True)
    if any("optimizer" in line or "param_scheduler" in line for line in changes):
        print("The numbers of optimizer and schedules come from the checkpoint, not from the config.", flush=True)


def fitted(content: dict[str, Any], model: nn.Module, path: str | Path, *, is_forced: bool) -> dict[str, Any]:
    """A checkpoint's contents made to fit the model: as they are where names and shapes agree.

    Where they do not and `is_forced`, the weights that fit are taken, the others stay as they were initialized, and
    optimizer, gradients and averages start anew.

    Raises:
        WeightsError: they do not agree, or nothing fits at all; the message is a short table.
    """
    own, state = model.state_dict(), state_dict_of(content, str(path))
    fitting = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    if len(fitting) == len(own) == len(state):
        return content
    table = mismatch_table(own, state, f"{path} does not fit {type(model).__name__}")
    if not is_forced or not fitting:
        raise WeightsError(f"{table}\n  --force goes on with the weights that fit." if fitting else table)
    print(f"{table}\n  Going on with the {len(fitting)} that fit; the optimizer starts anew.", flush=True)
    kept = {name: value for name, value in content.items() if name != "ema_state_dict"}
    return {**kept, "state_dict": {**own, **fitting}, "optimizer": None, "gradients": {}}


def load_optimizer(wrapper: Any, state: dict[str, Any] | None, path: str | Path, *, is_forced: bool) -> None:
    """Put a checkpoint's optimizer state into the config's optimizer; None leaves it new.

    Raises:
        WeightsError: it belongs to another optimizer or to other groups of parameters, and not `is_forced`.
    """
    if state is None:
        return
    try:
        wrapper.load_state_dict(state)
    except (ValueError, KeyError, TypeError) as error:
        if not is_forced:
            raise WeightsError(f"The optimizer of {path} does not fit the config's ({_first_line(error)}). Resume with "
                               "the config.py of the run, or start the optimizer anew with --force.") from error
        print(f"The optimizer of {path} does not fit the config's ({_first_line(error)}); it starts anew.", flush=True)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")


def _parts(node: Any, path: str = "model") -> dict[str, str]:
    """Every key of a model config, with the class where it names one; values may change, parts may not."""
    if isinstance(node, (list, tuple)):
        return {key: kind for index, item in enumerate(node) for key, kind in _parts(item, f"{path}.{index}").items()}
    if not isinstance(node, Mapping):
        return {}
    found = {}
    for key, value in node.items():
        if key in _WITHOUT_WEIGHTS:
            continue
        found[f"{path}.{key}"] = str(value).rpartition(".")[2].rstrip("'>") if key == "type" else ""
        found.update(_parts(value, f"{path}.{key}"))
    return found
