"""What a run adds to its config, and the config without it."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

import torch
from mmengine import Config

from clipapps.engine.config_name import NAME_KEY, name_of
from clipapps.errors import UserError

DEFAULT_SEED = 0
_OF_THE_RUN = ("work_dir", "device", "launcher", "experiment_name", "resume")


def complete(cfg: Config, folder: Path, *, seed: int | None, device: str, launcher: str) -> None:
    """Fill in folder, device, seed and launcher.

    Raises:
        UserError: the device is not there, or the launcher's variables are not set.
    """
    pick_device(device)
    cfg.work_dir, cfg.device, cfg.launcher = str(folder), device, launcher
    cfg.default_scope = cfg.get("default_scope") or "clipapps"
    randomness = dict(cfg.get("randomness") or {})
    chosen = seed if seed is not None else randomness.get("seed")
    cfg.randomness = {**randomness, "seed": DEFAULT_SEED if chosen is None else chosen}
    if not cfg.get("experiment_name"):  # mmengine keeps one message hub per name, and its names differ by second only
        cfg.experiment_name = f"{name_of(cfg)}-{uuid.uuid4().hex[:8]}"
    if launcher != "none":
        if "RANK" not in os.environ:
            raise UserError("--launcher pytorch is for processes that torchrun has started: "
                            "torchrun --nproc-per-node 2 -m clipapps train CONFIG --launcher pytorch")


def process_rank(launcher: str) -> int:
    """The rank of this process before the processes are connected."""
    return int(os.environ.get("RANK", 0)) if launcher != "none" else 0


def pick_device(name: str) -> torch.device:
    """The device for "auto", "cpu", "cuda" or "cuda:<n>".

    Raises:
        UserError: that device is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"The device {name!r} is not available here. Use --device cpu.")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise UserError(f"There is no device {name!r}; use auto, cpu, cuda or cuda:<n>.") from error


def portable(cfg: Config) -> Config:
    """The config as a file that starts the same run elsewhere: without what belongs to this folder and machine."""
    content = {key: value for key, value in cfg.to_dict().items() if key not in _OF_THE_RUN}
    content[NAME_KEY] = name_of(cfg)
    return Config(_with_names(content))


def _with_names(value: Any) -> Any:
    """Classes and functions as dotted names, which mmengine writes as bare words; other objects as text."""
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    if isinstance(value, dict):
        return {key: _with_names(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_with_names(item) for item in value)
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return repr(value)
