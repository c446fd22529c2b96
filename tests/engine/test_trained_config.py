"""Which config weights belong to: named, beside them, or written in them."""

from __future__ import annotations

import pytest
import torch

from clipapps.engine.checkpoint import save_weights
from clipapps.engine.config import load_config
from clipapps.engine.run_config import portable
from clipapps.engine.trained_config import config_of_weights
from clipapps.errors import WeightsError

NAME = "fpn_tiny_toyworld"


@pytest.fixture
def weights(tmp_path):
    def write(**metadata: str):
        save_weights({"weight": torch.zeros(1)}, tmp_path / "best.safetensors", metadata)
        return tmp_path / "best.safetensors"

    return write


def test_the_name_that_weights_carry(weights) -> None:
    assert config_of_weights("denseclip", weights(config=NAME)).model == load_config(f"denseclip/{NAME}").model


def test_a_config_beside_them_comes_first_and_a_named_one_before_it(weights, tmp_path) -> None:
    file = weights(config=NAME)
    portable(load_config(f"denseclip/{NAME}", ["train_cfg.max_iters=7"])).dump(tmp_path / "config.py")
    assert config_of_weights("denseclip", file).train_cfg.max_iters == 7
    assert config_of_weights("denseclip", file, f"denseclip/{NAME}").train_cfg.max_iters == 240


@pytest.mark.parametrize("metadata", [{}, {"config": "no_such_config"}])
def test_weights_that_do_not_say(weights, metadata) -> None:
    with pytest.raises(WeightsError, match="does not say which config"):
        config_of_weights("denseclip", weights(**metadata))


def test_weights_that_are_not_there(tmp_path) -> None:
    with pytest.raises(WeightsError, match="no weights file"):
        config_of_weights("denseclip", tmp_path / "none.safetensors")
