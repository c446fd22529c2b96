"""Which config trained weights belong to."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from clipapps.engine import checkpoint
from clipapps.engine.config import list_configs, load_config
from clipapps.errors import WeightsError


def config_of_weights(project: str, weights: str | Path, config: str | Path | None = None) -> Config:
    """The config of a project's trained weights: as given, `config.py` beside them, or by the name that they carry.

    Raises:
        WeightsError: none of the three, or no such weights.
    """
    if not Path(weights).is_file():
        raise WeightsError(f"There is no weights file {weights}.")
    beside = Path(weights).parent / "config.py"
    if config is None and beside.is_file():
        config = beside
    if config is None:
        config = f"{project}/{checkpoint.read_metadata(weights).get('config')}"
        if config not in list_configs():
            raise WeightsError(f"{weights} does not say which config it belongs to, and there is no config.py beside "
                               "it; keep it in its training folder.")
    return load_config(str(config))
