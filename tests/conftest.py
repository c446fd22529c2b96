"""Fixtures for all tests. Nothing here imports torch: tests that do not need it stay fast."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

# Set before torch or matplotlib is imported anywhere: one thread a process keeps small tests fast and sums in one
# order; no window; no test may reach for the network.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["HF_HUB_OFFLINE"] = "1"

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class CommandResult:
    """What one `clipapps` command line did."""

    code: int
    out: str
    err: str


@pytest.fixture
def clipapps_cli(capfd: pytest.CaptureFixture[str]) -> Callable[..., CommandResult]:
    """`clipapps_cli("list", "--json")` runs the command line in this process and returns code, out and err."""
    from clipapps.cli.main import main

    def call(*arguments: str | Path) -> CommandResult:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return CommandResult(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of development data outside the repository (CLIPAPPS_SHARED, else ../shared); skips when absent."""
    folder = Path(os.environ.get("CLIPAPPS_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"there is no folder of shared development data at {folder}")
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `gpu` where torch sees no CUDA device."""
    wanting = [item for item in items if item.get_closest_marker("gpu")]
    if not wanting:
        return
    import torch

    if not torch.cuda.is_available():
        for item in wanting:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
