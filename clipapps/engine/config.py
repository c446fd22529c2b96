"""Configs by name or path, with overrides, checked before anything is built."""

from __future__ import annotations

import ast
import importlib.util
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipapps.engine.config_name import SUFFIXES
from clipapps.errors import ConfigError, UserError, did_you_mean
from clipapps.project import Project, discover

if TYPE_CHECKING:
    from mmengine import Config


def list_configs() -> dict[str, Path]:
    """Every config that ships with a discovered project: "project/name" -> file.

    Names beginning with an underscore (bases, folders of bases) are parts of configs and not listed.
    """
    found: dict[str, Path] = {}
    for name, project in discover().items():
        if isinstance(project, Project):
            folder = _package_folder(project.package) / "configs"
            for file in sorted(folder.rglob("*.py")):
                parts = file.relative_to(folder).with_suffix("").parts
                if not any(part.startswith("_") for part in parts):
                    found["/".join((name, *parts))] = file
    return found


def find_config(name_or_path: str | Path) -> Path:
    """The file of a config given by name ("project/config") or by path.

    Raises:
        ConfigError: neither a file nor a known name; the nearest name is suggested.
    """
    text = str(name_or_path)
    configs = list_configs()
    if text in configs:
        return configs[text]
    file = Path(text).expanduser()
    if file.is_file():
        if file.suffix not in SUFFIXES:
            raise ConfigError(f"{file} is no config: a config is a {', '.join(SUFFIXES)} file.")
        return file
    if file.suffix in SUFFIXES:
        raise ConfigError(f"There is no config file {file}.")
    raise ConfigError(f"There is no config {text!r}.{did_you_mean(text, configs)} "
                      "`clipapps list configs` shows what is there; a config file is given by its path.")


def load_config(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Load a config, apply overrides, and check all of it strictly, before anything is built.

    `~` and environment variables (`$NAME`, `${NAME}`) in a dataset's `data_root` are expanded; one that is not set
    stays as it is written, and is then in the message about the missing folder. Other paths are taken as written, also
    where they lead out of the data root (`../masks`): a config is code of the user's choice.

    Args:
        name_or_path: "project/config" or a file in either mmengine style. A config is code: loading it runs it.
        overrides: "a.b=value" or "a.0.b=value"; values are Python literals, bare words are strings. Each must name
            an existing key or an argument that the class at that place accepts.

    Returns:
        the resolved mmengine Config; `filename` is the file it came from.

    Raises:
        ConfigError: with every finding, one a line, each with its dotted key.
    """
    from clipapps.engine.config_check import check_config

    cfg = read_config(find_config(name_or_path))
    data_root = cfg.get("data_root")
    findings = _overridden(cfg, overrides)
    _move_datasets(cfg, data_root)
    errors, warnings = check_config(cfg)
    for warning in warnings:
        logging.getLogger("clipapps").warning("%s", warning)
    _raise_findings(f"{name_or_path}", findings + errors)
    return cfg


def read_config(file: Path) -> Config:
    """Parse a config file without checking its keys.

    Raises:
        ConfigError: it cannot be parsed or imported; the message names file and line.
    """
    from mmengine import Config
    from mmengine.config import ConfigDict

    try:
        return Config.fromfile(file)
    except SyntaxError as error:
        raise ConfigError(f"{file}, line {error.lineno}: {error.msg}.") from error
    except Exception as error:
        raise ConfigError(f"{_place(file, error)}: {type(error).__name__}: {_words(error)}") from error
    finally:
        ConfigDict.lazy = False  # mmengine leaves it on when parsing a base fails


def apply_overrides(cfg: Config, overrides: Sequence[str]) -> None:
    """Set each "a.b=value" in the config, in order.

    Raises:
        ConfigError: an override that is not written key=value, or whose key hits nothing; all are reported at once.
    """
    _raise_findings("overrides", _overridden(cfg, overrides))


def parse_value(text: str) -> Any:
    """A command-line value: a Python literal where it is one, else mmengine's looser lists, booleans and bare words.

    >>> parse_value("1e-4"), parse_value("[1, 2]"), parse_value("1,2"), parse_value("true"), parse_value("RN50")
    (0.0001, [1, 2], [1, 2], True, 'RN50')
    """
    from mmengine.config import DictAction

    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        try:
            return DictAction._parse_iterable(text)
        except (AssertionError, IndexError, RecursionError):
            return text
    return list(value) if isinstance(value, tuple) and not text.strip().startswith("(") else value


def _overridden(cfg: Config, overrides: Sequence[str]) -> list[str]:
    """Apply what can be applied; returns a sentence for every override that cannot."""
    findings = []
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            findings.append(f"{text!r} is no override; it is written a.b=value.")
            continue
        try:
            _set(cfg, key.strip().split("."), parse_value(value))
        except ConfigError as error:
            findings.append(str(error))
    return findings


def _raise_findings(subject: str, findings: list[str]) -> None:
    if findings:
        title = f"{subject}: {len(findings)} finding{'s' if len(findings) > 1 else ''}"
        raise ConfigError("\n".join([title, *(f"  {finding}" for finding in findings)]))


def _set(cfg: Config, path: list[str], value: Any) -> None:
    from clipapps.engine.config_check import accepted_keys

    if path[0].startswith("_"):
        raise ConfigError(f"{path[0]}: a name beginning with '_' is private to its file, and changing it afterwards "
                          "changes nothing; override the place that uses it.")
    node: Any = cfg._cfg_dict
    for depth, key in enumerate(path):
        here, is_last = ".".join(path[: depth + 1]), depth == len(path) - 1
        if isinstance(node, list):
            index = _index(key, node, here)
            if is_last:
                node[index] = value
            else:
                node = node[index]
        elif isinstance(node, dict):
            if key not in node:
                accepted = accepted_keys(cfg, path[:depth])
                if key not in accepted:
                    raise ConfigError(f"{here}: there is no such key.{did_you_mean(key, {*node, *accepted})}")
            if is_last:
                node[key] = value
            else:
                if node.get(key) is None:
                    node[key] = {}
                node = node[key]
        else:
            raise ConfigError(f"{here}: {'.'.join(path[:depth])} is a {type(node).__name__} and has no keys.")


def _move_datasets(cfg: Config, old_root: str | None) -> None:
    """One override of a project's top-level `data_root` moves every dataset that stood there; expands `~`, `$NAME`."""
    for split in ("train", "val", "test"):
        dataset = (cfg.get(f"{split}_dataloader") or {}).get("dataset")
        while isinstance(dataset, dict):
            if old_root is not None and dataset.get("data_root") == old_root:
                dataset["data_root"] = cfg["data_root"]
            if isinstance(root := dataset.get("data_root"), str):
                dataset["data_root"] = os.path.expandvars(os.path.expanduser(root))
            dataset = dataset.get("dataset")


def _index(key: str, node: list[Any], here: str) -> int:
    if not key.lstrip("-").isdigit():
        raise ConfigError(f"{here}: this is a list; its entries are numbered 0 to {len(node) - 1}.")
    index = int(key)
    if not -len(node) <= index < len(node):
        raise ConfigError(f"{here}: the list has {len(node)} entries, numbered 0 to {len(node) - 1}.")
    return index


def _package_folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"The package {package!r} of a project cannot be found.")
    return Path(next(iter(spec.submodule_search_locations)))


def _place(file: Path, error: Exception) -> str:
    """The config file and the line in it (or in one of its bases) where `error` came from."""
    place, trace = str(file), error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if Path(name).suffix in SUFFIXES and "configs" in Path(name).parts or name == str(file):
            place = f"{name}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return place


def _words(error: Exception) -> str:
    return str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
