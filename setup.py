"""Which packages exist, computed from the folders: a new sub-package needs no edit here or in pyproject.toml."""

from setuptools import find_packages, setup

ROOTS = {"clipapps": "clipapps", "clipapps.projects": "projects", "clipapps.demos": "demos"}

setup(
    package_dir=ROOTS,
    packages=[name for root, folder in ROOTS.items()
              for name in (root, *(f"{root}.{package}" for package in find_packages(folder)))],
)
