"""The example project, installed as a third party would: list, train, and no change in the core."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "projects" / "example"


def _run(*command: str, **env: str) -> str:
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True,
                          env={**os.environ, **env}, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the example as an installed distribution."""
    folder = tmp_path_factory.mktemp("example")
    shutil.copytree(EXAMPLE, folder / "source")
    _run("pip", "install", "-q", "--no-deps", "--no-build-isolation", "--disable-pip-version-check",
         "--target", str(folder / "site"), str(folder / "source"))
    return folder / "site"


def test_it_is_listed_with_its_config(installed: Path) -> None:
    configs = json.loads(_run("clipapps", "list", "configs", "--json", PYTHONPATH=str(installed)))
    assert "example/linear_probe_tiny_toyworld" in json.dumps(configs)


def test_it_trains_through_the_command_line(installed: Path, tmp_path: Path) -> None:
    _run("clipapps", "train", "example/linear_probe_tiny_toyworld", "--work-dir", str(tmp_path), "--device", "cpu",
         "train_cfg.max_iters=15", "train_cfg.val_interval=15", "val_dataloader.dataset.num_scenes=128",
         PYTHONPATH=str(installed))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["accuracy"] > 0.3  # ten categories: chance is 0.1
    assert metrics["iterations"] == 15


def test_the_copy_that_the_instructions_make_is_a_working_project(tmp_path: Path) -> None:
    """The commands of projects/README.md up to the installation, run as they stand there."""
    text = (EXAMPLE.parent / "README.md").read_text()
    commands = text.partition("```bash\n")[2].partition("pip install")[0]
    shutil.copytree(EXAMPLE, tmp_path / "projects" / "example", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["bash", "-euo", "pipefail", "-c", commands], cwd=tmp_path, check=True)
    project = tomllib.loads((tmp_path / "flowers" / "pyproject.toml").read_text())["project"]
    assert project["entry-points"] == {"clipapps.projects": {"flowers": "clipapps_flowers"}}
    installed = tmp_path / "flowers" / "clipapps_flowers-0.1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: clipapps-flowers\nVersion: 0.1.0\n")
    (installed / "entry_points.txt").write_text("[clipapps.projects]\nflowers = clipapps_flowers\n")
    said = _run("clipapps", "config", "check", "flowers/linear_probe_tiny_toyworld", PYTHONPATH=str(installed.parent))
    assert "flowers/linear_probe_tiny_toyworld: no findings" in said


def _code_lines(source: str) -> int:
    """Lines that are neither blank nor part of a docstring."""
    docs: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            docs.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return sum(bool(line.strip()) and number not in docs for number, line in enumerate(source.splitlines(), start=1))


def test_record_and_method_stay_under_60_lines() -> None:
    package = EXAMPLE / "clipapps_example"
    assert sum(_code_lines((package / name).read_text()) for name in ("__init__.py", "probe.py")) < 60
