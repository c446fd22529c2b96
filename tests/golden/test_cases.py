"""Every golden case of every project; see conftest.py."""

from __future__ import annotations

from pathlib import Path


def test_case(case_folder: Path, run_case) -> None:
    run_case(case_folder)
