"""Fixtures of the command-line tests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clipapps import project


@pytest.fixture
def install_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Install a third-party distribution with one project plugin for the length of a test."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    modules_before = set(sys.modules)

    def install(name: str, source: str) -> None:
        (folder / f"{name}_module.py").write_text(source)
        information = folder / f"{name}-1.0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (information / "entry_points.txt").write_text(f"[{project.ENTRY_POINT_GROUP}]\n{name} = {name}_module\n")
        project.discover.cache_clear()

    yield install
    for module in set(sys.modules) - modules_before:
        if module.endswith("_module"):
            del sys.modules[module]
    project.discover.cache_clear()
