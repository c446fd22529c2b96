"""Wrong values in a config are told with key and class."""

from __future__ import annotations

import pytest
from engine_toy_task import Strict

from clipapps.engine.building import built_from
from clipapps.errors import ConfigError, DataError


class Outer:
    def __init__(self, size: int) -> None:
        self.inner = Strict(size)


@pytest.mark.parametrize(("size", "words"), [
    (3, "model: Strict cannot be built: this must hold: size % 2 == 0. Look at its values"),
    (0, "model: Strict cannot be built: ZeroDivisionError: division by zero"),
    ("a", "model: Strict cannot be built: TypeError: not all arguments"),
])
def test_the_innermost_class_and_its_complaint(size, words):
    with pytest.raises(ConfigError) as caught, built_from("model"):
        Outer(size)
    assert words in str(caught.value)


def test_options_of_workers_are_dropped_without_workers(tmp_path, train_toy):
    assert train_toy(tmp_path, "train_dataloader.persistent_workers=True", "train_dataloader.prefetch_factor=2",
                     "train_cfg.max_iters=1")["iterations"] == 1


def test_errors_with_a_message_of_their_own_pass():
    with pytest.raises(DataError, match="mine"), built_from("train_dataloader"):
        raise DataError("mine")
    with pytest.raises(RuntimeError), built_from("model"):
        raise RuntimeError("CUDA out of memory")


@pytest.mark.parametrize(("override", "words"), [
    ("train_dataloader.batch_size=0", "train_dataloader: "),
    ("model.width=-1", "model: Linear cannot be built: RuntimeError: "),
    ("optim_wrapper.optimizer.lr=-1.0", "optim_wrapper: AdamW cannot be built: ValueError: Invalid learning rate: -1"),
    ("default_hooks.logger.interval=0.5.1", "default_hooks.logger.interval"),
    ("param_scheduler.0.end=0", "param_scheduler: "),
])
def test_a_config_with_wrong_values_is_user_error(tmp_path, toy_config, clipapps_cli, override, words):
    result = clipapps_cli("train", toy_config, "--work-dir", tmp_path, override)
    assert result.code == 2, result.err
    assert words in result.err
