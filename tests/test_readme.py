"""What the README shows runs as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from clipapps.data.images import write_image

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def run(code: str, folder: Path) -> str:
    """Output of a block, run from a folder that is not the checkout."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, check=False,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_custom_head_trains_in_twenty_lines(tmp_path: Path) -> None:
    """The Python block of "Reuse the backbone in your own head"."""
    (code,) = [block for block in BLOCKS if "CLIPBackbone.from_pretrained" in block]
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    right, trivial = (float(number) for number in re.findall(r"0\.\d{3}", run(code, tmp_path)))
    assert right > trivial + 0.03


def test_one_call_is_enough(tmp_path: Path) -> None:
    """The Python block of "What you can do", on photos of our own."""
    (code,) = [block for block in BLOCKS if "clipapps.load(" in block]
    (tmp_path / "holidays").mkdir()
    for name in ("photo.jpg", "holidays/a.png", "holidays/b.png"):
        write_image(tmp_path / name, np.full((40, 60, 3), 60, np.uint8))
    lines = run(code, tmp_path).split()
    assert lines[::2] == ["a", "b"] and all(0 < float(number) < 1 for number in lines[1::2])
    assert (tmp_path / "outputs" / "photo.jpg").is_file()


def test_the_example_is_as_short_as_it_says() -> None:
    files = sorted((ROOT / "projects" / "example" / "clipapps_example").glob("*.py"))
    (said,) = re.findall(r"a whole project in (\d+) lines", README)
    assert sum(len(file.read_text().splitlines()) for file in files) == int(said)


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", README))
def test_links_lead_somewhere(target: str) -> None:
    assert target.startswith("https://") or (ROOT / target).exists(), target
