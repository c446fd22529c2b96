"""The short name of a config, which checkpoints, pictures and metrics carry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmengine import Config

NAME_KEY = "_config_name"
SUFFIXES = (".py", ".json", ".yaml", ".yml")


def config_name(name_or_path: str | Path) -> str:
    """The short name of a config: its file's stem ("denseclip/x" and "some/folder/x.py" are both "x")."""
    text = str(name_or_path)
    return Path(text).stem if Path(text).suffix in SUFFIXES else text.rpartition("/")[2]


def name_of(cfg: Config) -> str:
    """The short name of a loaded config; a run's config.py remembers the name of the config it came from."""
    return str(cfg.get(NAME_KEY) or config_name(cfg.filename or "config"))
