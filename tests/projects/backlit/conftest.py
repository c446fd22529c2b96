"""Short trainings of the tiny configs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SMALL = ("train_dataloader.dataset.num_scenes=6", "train_dataloader.dataset.size=32", "train_dataloader.batch_size=2",
         "val_dataloader.dataset.num_scenes=2", "val_dataloader.dataset.size=32", "custom_hooks=[]",
         "train_cfg.schedule.reinit_psnr=0")


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network whose maps are near 0.5: everything becomes about twice as bright."""
    import torch

    from clipapps.engine.checkpoint import save_weights
    from clipapps.projects.backlit.network import EnhancementNetwork

    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "best.safetensors"
    state = EnhancementNetwork(start_bias=0.5).state_dict()
    save_weights({f"network.{name}": value for name, value in state.items()}, file)
    return file


@pytest.fixture(scope="session")
def small_overrides() -> tuple[str, ...]:
    """What makes a tiny config small enough for a test."""
    return SMALL


@pytest.fixture(scope="session")
def train_small() -> Callable[..., dict[str, Any]]:
    """`train_small("clip_lit", folder, "a.b=c", ...)` trains a tiny config for a few steps and returns its metrics."""
    from clipapps.engine import runner
    from clipapps.engine.config import load_config

    def train(name: str, folder: Path, *overrides: str, **arguments: Any) -> dict[str, Any]:
        config = load_config(f"backlit/{name}_tiny_toyworld", [*SMALL, *overrides])
        return runner.train(config, folder, **arguments)

    return train
