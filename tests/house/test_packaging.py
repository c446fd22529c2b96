"""What is built and declared: every file in the wheel, entry points that resolve, pins that fit."""

from __future__ import annotations

import importlib
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from sources import PACKAGES, ROOT, is_ours, modules

import clipapps
from clipapps.project import Project

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECTS = PYPROJECT["project"]["entry-points"]["clipapps.projects"]
LEFT_BY_WORK = ("__pycache__", ".tmp-", ".egg-info")


def source_files() -> dict[str, Path]:
    """Path inside a wheel -> file in the tree, for all files of the three roots."""
    return {f"{package.replace('.', '/')}/{file.relative_to(folder)}": file
            for package, folder in PACKAGES.items() for file in sorted(folder.rglob("*"))
            if file.is_file() and is_ours(file)
            and not any(word in str(file.relative_to(folder)) for word in LEFT_BY_WORK)}


@pytest.fixture
def packages(monkeypatch) -> list[str]:
    """The packages that setup.py computes."""
    given = {}
    monkeypatch.setattr(setuptools, "setup", given.update)
    monkeypatch.chdir(ROOT)
    runpy.run_path("setup.py")
    return given["packages"]


def test_every_python_file_is_in_a_listed_package(packages):
    folders = {name.rpartition("/")[0].replace("/", ".") for name in source_files() if name.endswith(".py")}
    assert folders <= set(packages), "a folder without __init__.py is not packaged"
    assert len(packages) == len(set(packages))


def test_every_other_file_has_a_packaged_suffix():
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]["*"]
    suffixes = tuple(pattern.removeprefix("**/").removeprefix("*") for pattern in patterns)
    assert [name for name in source_files() if not name.endswith((".py", *suffixes))] == []


def test_wheel_holds_exactly_the_tree(tmp_path):
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for folder in PACKAGES.values():
        shutil.copytree(folder, tmp_path / folder.name, ignore=shutil.ignore_patterns("__pycache__", "*.tmp-*"))
    expected = set(source_files())
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--wheel-dir",
                    tmp_path / "dist", tmp_path], check=True, capture_output=True)
    wheel, = (tmp_path / "dist").glob("*.whl")
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert inside == expected


@pytest.mark.parametrize(("name", "module"), PROJECTS.items())
def test_project_entry_point_resolves_to_a_record_that_holds(name, module):
    record = importlib.import_module(module).PROJECT
    assert isinstance(record, Project)
    assert (record.name, record.package) == (name, module)
    folder = PACKAGES["clipapps.projects"] / name
    assert (folder / "configs").is_dir()
    assert record.extra is None or record.extra in PYPROJECT["project"]["optional-dependencies"]
    assert [file for file in record.weights.values() if not (folder / file).is_file()] == []


@pytest.mark.parametrize(("name", "module"), PROJECTS.items())
def test_what_a_project_record_refers_to_resolves(name, module):
    record = importlib.import_module(module).PROJECT
    for part in record.modules:
        importlib.import_module(part)
    for reference in filter(None, (record.inferencer, record.converter)):
        where, attribute = reference.split(":")
        assert callable(getattr(importlib.import_module(where), attribute)), reference


def test_every_project_folder_has_an_entry_point():
    folders = {file.parent.name for file in PACKAGES["clipapps.projects"].glob("*/__init__.py")
               if "PROJECT" in file.read_text()}
    assert folders == set(PROJECTS)


def test_console_script_resolves():
    module, name = PYPROJECT["project"]["scripts"]["clipapps"].split(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_versions_agree():
    assert PYPROJECT["project"]["version"] == clipapps.__version__
    assert f"## {clipapps.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_constraints_pin_everything_asked_for_inside_its_range():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {canonicalize_name(name): Version(version) for name, version in
            (re.fullmatch(r"([\w.-]+)==(\S+)", line).groups() for line in lines if line and not line.startswith("#"))}
    asked = [*PYPROJECT["project"]["dependencies"],
             *(line for lines in PYPROJECT["project"]["optional-dependencies"].values() for line in lines)]
    for requirement in map(Requirement, asked):
        if requirement.name != "clipapps":
            assert pins[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_everything_imported_is_asked_for():
    """No package is used that only comes along because another one happens to need it."""
    owners = metadata.packages_distributions()
    sections = PYPROJECT["project"]["optional-dependencies"] | {"core": PYPROJECT["project"]["dependencies"]}
    asked = {section: {canonicalize_name(Requirement(line).name) for line in lines}
             for section, lines in sections.items()}
    extra_of = {f"clipapps.projects.{name}": importlib.import_module(module).PROJECT.extra
                for name, module in PROJECTS.items()}
    extra_of |= {"clipapps.engine.onnx_file": "export", "clipapps.data.video": "ila",  # the optional parts of the core
                 "clipapps.web": "demo"}
    for module in modules().values():
        own = next((extra for prefix, extra in extra_of.items() if module.name.startswith(prefix)), None)
        allowed = asked["core"] | asked.get(own, set())
        for found in module.imports:
            if found.top not in sys.stdlib_module_names and found.top != "clipapps":
                names = {canonicalize_name(name) for name in owners.get(found.top, [found.top])}
                assert names & allowed, f"{module.where}:{found.line} imports {found.top}, which is not asked for"


def test_extra_all_names_every_project_extra():
    extras = PYPROJECT["project"]["optional-dependencies"]
    named = {extra for line in extras["all"] for extra in Requirement(line).extras}
    assert named == set(extras) - {"all", "dev"}
