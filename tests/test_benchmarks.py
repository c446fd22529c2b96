"""The benchmarks run to their end, with as little work as they can be given."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


def run(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=FOLDER, capture_output=True, text=True, check=False,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode in (0, 1), done.stderr  # 1: a goal was missed, which a busy machine may bring about
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "said"), [
    (("toyworld.py", "--images", "2", "--batches", "1"), "seeding:"),
    (("training.py", "denseclip/fpn_tiny_toyworld", "--steps", "4", "--batches", "1"), "a save of 400 MiB"),
    (("backbone.py", "--archs", "tiny-rn", "--pairs", "1"), "peak memory"),
    (("startup.py", "--runs", "1"), "import clipapps"),
    (("backlit.py", "image", "equal", "--threads", "1", "--runs", "1"), "tiles of 100"),
    (("backlit_training.py", "toyworld", "--methods", "RAVE", "--seeds", "0", "--every", "2", "--set",
      "train_cfg.max_iters=2"), "largest fall"),
    (("video.py", "--runs", "1", "--workers", "0"), "loader, 0 workers"),
    (("ila.py", "insert", "--runs", "1"), "of the released form"),
], ids=lambda value: value[0] if isinstance(value, tuple) else "")
def test_a_benchmark_prints_its_figures(arguments, said):
    assert said in run(*arguments)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read from /proc")
def test_the_peak_of_a_call_is_seen_and_forgotten(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    from measure import peak_mib, resident_mib

    def use() -> None:
        bytearray(b"x") * (100 * 2**20)

    before = resident_mib()
    assert 95 < peak_mib(use) - before < 130
    assert peak_mib(lambda: None) - before < 30
