"""From a checkpoint as others saved it to safetensors that this package reads: what `clipapps convert` does."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine import Config
from torch import Tensor

from clipapps.engine import checkpoint
from clipapps.engine.atomic import write_text
from clipapps.engine.config import list_configs
from clipapps.engine.config_name import name_of
from clipapps.engine.run_config import portable
from clipapps.engine.trusted_load import load_trusted
from clipapps.engine.work_dir import CONFIG
from clipapps.errors import UserError, WeightsError
from clipapps.project import get_project
from clipapps.safe_load import ForeignTypesError

SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Request:
    """What a project's converter is given.

    Args:
        content: what `checkpoint.load` returned: the dict that was saved.
        source: the file, for messages.
        config: name or path of the config to convert for; None: to be found from the keys.
        overrides: "a.b=value" for that config.
    """

    content: Mapping[str, Any]
    source: Path
    config: str | None = None
    overrides: Sequence[str] = ()

    def released_state(self, own_prefix: str) -> dict[str, Tensor]:
        """The tensors under the authors' names, without the prefix that training on several GPUs gives them.

        Args:
            own_prefix: how names begin in this package alone.

        Raises:
            WeightsError: no state dict, or one of this package's own.
        """
        state = checkpoint.state_dict_of(self.content, str(self.source))
        if all(name.startswith("module.") for name in state):
            state = {name.removeprefix("module."): value for name, value in state.items()}
        if any(name.startswith(own_prefix) for name in state):
            raise WeightsError(f"{self.source} has this package's own names already: use it as it is, or write "
                               f"clipapps convert {self.source} without a project to make it safetensors.")
        return dict(state)


@dataclass(frozen=True)
class Converted:
    """What a project's converter returns.

    Args:
        weights: the state dict of the config's model.
        cfg: the config the weights belong to.
        metadata: further facts about the weights, such as class names.
        notes: sentences that the user should read.
        is_shipped: `cfg` is a config of the package, unchanged: its name is enough to find it again.
    """

    weights: Mapping[str, Tensor]
    cfg: Config
    metadata: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    is_shipped: bool = True


#: the type of a project's `converter`; it raises WeightsError with a table for what is none of its layouts
Converter = Callable[[Request], Converted]


def convert(source: str | Path, target: str | Path | None = None, *, project: str | None = None,
            config: str | None = None, overrides: Sequence[str] = (), trust: bool = False,
            force: bool = False) -> tuple[list[Path], list[str]]:
    """Write the weights of a checkpoint as safetensors, atomically.

    Args:
        source: the checkpoint: safetensors, or a pickle of tensors.
        target: the file to write; None: the source's name with the suffix `.safetensors`.
        project: whose converter maps the names; None keeps names and tensors as they are.
        config: name or path of the config to convert for, where the keys alone should not decide.
        overrides: changes of that config.
        trust: read a pickle that holds more than tensors, in a process of its own.
        force: replace an existing target.

    Returns:
        the files that were written (the weights; beside them `config.py` when their config does not ship with the
        package), and sentences about them.

    Raises:
        WeightsError: the source cannot be read or fits no known layout (then with a table).
        UserError: the target exists, or the project converts nothing. DiskError: it cannot be written.
    """
    source = Path(source).expanduser()
    target = _checked_target(source, target, force)
    if project is None:
        if config is not None or overrides:
            raise UserError("A config belongs to a project; write clipapps convert PROJECT SRC --config ...")
        weights = checkpoint.state_dict_of(_read(source, trust), str(source))
        metadata = _facts(source)
        checkpoint.save_weights(weights, target, metadata)
        return [target], [f"{len(weights)} tensors, names unchanged"]
    converter: Converter = get_project(project).part("converter")
    converted = converter(Request(_read(source, trust), source, config, overrides))
    beside = [] if converted.is_shipped else [_checked_config(target, force)]
    facts = {"project": project, "config": name_of(converted.cfg), **_facts(source), **converted.metadata}
    checkpoint.save_weights(converted.weights, target, facts)
    for file in beside:
        write_text(file, portable(converted.cfg).pretty_text + "\n")
    return [target, *beside], [f"{len(converted.weights)} tensors for {facts['config']}", *converted.notes]


def is_shipped(config: str, overrides: Sequence[str] = ()) -> bool:
    """Whether a config is found by its name alone: one that ships with a project, without changes."""
    return config in list_configs() and not overrides


def _checked_target(source: Path, target: str | Path | None, force: bool) -> Path:
    if not source.is_file():
        raise WeightsError(f"There is no weights file {source}.")
    final = source.with_suffix(SUFFIX) if target is None else Path(target).expanduser()
    if final.suffix != SUFFIX:
        raise UserError(f"{final} is no name for the result; it must end in {SUFFIX}.")
    if final.exists() and final.resolve() == source.resolve():
        raise UserError(f"{source} would be replaced by its own conversion; name another target.")
    if final.exists() and not force:
        raise UserError(f"{final} exists; name another target, or replace it with --force.")
    return final


def _checked_config(target: Path, force: bool) -> Path:
    file = target.parent / CONFIG
    if file.exists() and not force:
        raise UserError(f"{file} exists, and the config of these weights belongs there; choose another folder for the "
                        "target, or replace it with --force.")
    return file


def _read(source: Path, trust: bool) -> dict[str, Any]:
    try:
        return checkpoint.load(source)
    except ForeignTypesError:
        if not trust:
            raise
    print(f"warning: {source} holds more than tensors. Because of --trust it is read in a process of its own; what is "
          "no tensor and no plain value is dropped.", file=sys.stderr)
    return load_trusted(source)


def _facts(source: Path) -> dict[str, str]:
    with source.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"source": source.name, "source_sha256": digest}
