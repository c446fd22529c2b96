"""The heads of `demos/heads` run as a reader would run them, stay short, and reach half of their measured gain."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HEADS = Path(__file__).resolve().parents[2] / "demos" / "heads"
# script -> whether less is better, its figure as measured, and that of what it is compared with
MEASURED = {
    "depth_head.py": (True, 0.117, 0.235),
    "linear_probe.py": (False, 0.717, 0.390),
    "learned_prompts.py": (False, 0.815, 0.558),
}


def test_every_head_is_measured_and_short() -> None:
    files = sorted(HEADS.glob("*.py"))
    assert [file.name for file in files] == sorted(MEASURED)
    for file in files:
        text = file.read_text()
        assert len(text.splitlines()) < 50, file.name
        imports = re.findall(r"^from (clipapps\S*) import", text, re.MULTILINE)
        assert set(imports) <= {"clipapps", "clipapps.toyworld"}, file.name
        assert not re.search(r"\b(clip|backbone|model)\._", text), file.name  # the public API is enough


@pytest.mark.parametrize("name", sorted(MEASURED))
def test_a_head_reaches_half_of_its_gain(name: str) -> None:
    done = subprocess.run([sys.executable, HEADS / name], capture_output=True, text=True, timeout=280,
                          env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"})
    assert done.returncode == 0, done.stderr
    own, other = (float(number) for number in re.findall(r"\d\.\d{3}", done.stdout)[:2])
    less_is_better, measured, compared = MEASURED[name]
    assert (other - own if less_is_better else own - other) > 0.5 * abs(measured - compared), done.stdout
