"""Arguments that follow from others: filled in, so that no config repeats them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clipapps.errors import ConfigError


def filled_in(config: Mapping[str, Any], where: str, **derived: Any) -> dict[str, Any]:
    """The config with derived arguments; one that is given and disagrees is refused."""
    for key, value in derived.items():
        if key in config and config[key] != value:
            raise ConfigError(f"model.{where}.{key} is {config[key]}, but backbone and class names give {value}. "
                              "Leave it out; it is filled in.")
    return {**config, **derived}


def required(config: Mapping[str, Any] | None, where: str, mode: str) -> Mapping[str, Any]:
    """The config that a prompt mode needs; raises ConfigError when there is none."""
    if config is None:
        raise ConfigError(f"model.prompt_mode {mode!r} needs model.{where}.")
    return config
