"""The toy task of tests/engine/task, importable in this process and in child processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TASK = Path(__file__).resolve().parent / "task"
if str(TASK) not in sys.path:
    sys.path.insert(0, str(TASK))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(TASK), os.environ.get("PYTHONPATH")]))


@pytest.fixture
def toy_config() -> Path:
    """A config file of the toy task: 40 steps, a validation every 20, a checkpoint every 10."""
    return TASK / "toy_config.py"


@pytest.fixture
def train_toy(toy_config: Path) -> Callable[..., dict[str, Any]]:
    """`train_toy(work_dir, "a.b=c", ..., seed=1)` trains the toy task and returns its metrics."""
    from clipapps.engine import runner
    from clipapps.engine.config import load_config

    def train(work_dir: Path, *overrides: str, **arguments: Any) -> dict[str, Any]:
        return runner.train(load_config(toy_config, overrides), work_dir, **arguments)

    return train
