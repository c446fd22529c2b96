"""Test-time augmentation as mmengine configs spell it: `tta_pipeline` and `tta_model` at the top level."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clipapps.errors import ConfigError

if TYPE_CHECKING:
    from mmengine import Config


def use_test_time_augmentation(cfg: Config) -> None:
    """Let the test set go through `tta_pipeline`, and the model be the `module` of `tta_model` (changes the config).

    Raises:
        ConfigError: the config has no such keys, or its test set no pipeline.
    """
    if missing := [key for key in ("tta_model", "tta_pipeline") if cfg.get(key) is None]:
        raise ConfigError(f"--tta needs {' and '.join(missing)} in the config, which has none.")
    dataset = (cfg.get("test_dataloader") or {}).get("dataset") or {}
    if "pipeline" not in dataset:
        raise ConfigError("--tta replaces test_dataloader.dataset.pipeline, but the config's test set has none.")
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    cfg.model = {**cfg.tta_model, "module": cfg.model}
