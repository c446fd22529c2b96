"""What a project plugin is, and how plugins are discovered (entry-point group `clipapps.projects`)."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from clipapps.errors import UserError, did_you_mean

ENTRY_POINT_GROUP = "clipapps.projects"


def comma_separated(text: str) -> list[str]:
    """The names in a text such as "sky, road, tree".

    Raises:
        UserError: it holds none.

    >>> comma_separated("sky, tall tree,")
    ['sky', 'tall tree']
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UserError(f"{text!r} names nothing; write for example \"sky, road, tree\".")
    return names


@dataclass(frozen=True)
class PredictOption:
    """A project's own option of `clipapps predict`: the flag `--max-gain` gives the inferencer's argument `max_gain`.

    Args:
        name: of the inferencer's keyword argument.
        help: for `clipapps predict PROJECT --help`, without a capital and a full stop.
        convert: makes the value from the text behind the flag, for example `float` or `comma_separated`; None: the
            flag stands alone and means True.
        metavar: what the help calls the value.

    >>> PredictOption("max_gain", "brightens by this factor at most", float, "G").flag
    '--max-gain'
    """

    name: str
    help: str
    convert: Callable[[str], Any] | None = None
    metavar: str = "VALUE"

    @property
    def flag(self) -> str:
        """As the command line spells it."""
        return f"--{self.name.replace('_', '-')}"


@dataclass(frozen=True)
class Project:
    """One task project: cheap facts only; everything heavy is named by a string and imported on first use.

    Args:
        name: as the command line spells it, for example "denseclip".
        package: importable package that holds the project, with its configs in `<package>/configs/`.
        summary: one sentence for `clipapps list`.
        modules: modules to import when a class of this project is first needed by name.
        config_keys: top-level config keys the project adds to mmengine's.
        inferencer: "module:Class" of the one-call inference class, if there is one.
        predict_options: keyword arguments of the inferencer that `clipapps predict` offers as flags.
        converter: "module:function" that turns an authors' checkpoint into ours (`engine.convert.Converter`), if any.
        exporter: "module:function" that makes a trained model ready for export (`engine.export.Exporter`), if any.
        demo: "module:function" that builds the project's tab of the demo page, given a folder for example files.
        weights: shipped weights: name -> file relative to the package; the first is the default.
        extra: the pip extra that installs what the project needs.
    """

    name: str
    package: str
    summary: str
    modules: tuple[str, ...] = ()
    config_keys: tuple[str, ...] = ()
    inferencer: str | None = None
    predict_options: tuple[PredictOption, ...] = ()
    converter: str | None = None
    exporter: str | None = None
    demo: str | None = None
    weights: dict[str, str] = field(default_factory=dict)
    extra: str | None = None

    def shipped_weights(self, name: str | None = None) -> Path | None:
        """The file of shipped weights by name, of the default ones without; None where the project has no such."""
        file = self.weights.get(name) if name else next(iter(self.weights.values()), None)
        return Path(str(importlib.import_module(self.package).__file__)).parent / file if file else None

    def weights_file(self, weights: str | os.PathLike[str] | None) -> str | os.PathLike[str] | None:
        """A checkpoint's path as it is, or the file of shipped weights of that name; None stays None."""
        shipped = None if weights is None or Path(weights).exists() else self.shipped_weights(str(weights))
        return shipped or weights

    def part(self, name: str) -> Any:
        """What "inferencer", "converter", "exporter" or "demo" names, imported; raises UserError when there is none."""
        reference = getattr(self, name)
        if reference is None:
            raise UserError(f"The project {self.name!r} has no {name}. `clipapps list projects` shows the others.")
        module, _, attribute = reference.partition(":")
        return getattr(importlib.import_module(module), attribute)


@dataclass(frozen=True)
class BrokenProject:
    """A plugin whose module could not be imported: reported, never fatal."""

    name: str
    reason: str


@cache
def discover() -> dict[str, Project | BrokenProject]:
    """Every installed project by name; one that fails to import is a `BrokenProject`."""
    found: dict[str, Project | BrokenProject] = {}
    for entry in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda e: e.name):
        try:
            found[entry.name] = importlib.import_module(entry.value).PROJECT
        except Exception as error:
            found[entry.name] = BrokenProject(entry.name, f"{type(error).__name__}: {error}")
    return found


def list_projects() -> list[str]:
    """Names of the projects that can be used."""
    return [name for name, project in discover().items() if isinstance(project, Project)]


def get_project(name: str) -> Project:
    """The project of that name; raises UserError with a suggestion when there is none or it is broken."""
    project = discover().get(name)
    if project is None:
        raise UserError(f"There is no project {name!r}.{did_you_mean(name, discover())} "
                        "`clipapps list projects` shows what is installed.")
    if isinstance(project, BrokenProject):
        raise UserError(f"The project {name!r} cannot be imported: {project.reason}. `clipapps doctor` says more.")
    return project
