"""Two processes on a CPU train like one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from clipapps.engine import checkpoint

PLAIN = ("model.dropout=0.0", "model.norm=False", "train_cfg.max_iters=20", "default_hooks.checkpoint.interval=10",
         "train_dataloader.dataset.size=40")


def launch(config: Path, folder: Path, *overrides: str) -> subprocess.Popen[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port), "-m",
         "clipapps", "train", str(config), "--work-dir", str(folder), "--device", "cpu", "--launcher", "pytorch",
         *overrides], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> tuple[Path, Path]:
    """The same run by one process with batches of 8, and by two with batches of 4 each."""
    from clipapps.engine import runner
    from clipapps.engine.config import load_config

    config = Path(__file__).parent / "task" / "toy_config.py"
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    process = launch(config, two, *PLAIN, "train_dataloader.batch_size=4")
    runner.train(load_config(config, [*PLAIN, "train_dataloader.batch_size=8"]), one)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, out + err
    assert out.count("metrics.json") == 1
    return one, two


def test_losses_and_weights_agree(pair):
    one, two = pair
    losses = [[record["loss"] for record in map(json.loads, (folder / "scalars.jsonl").open())
               if record["mode"] == "train"] for folder in pair]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    first, second = (checkpoint.load(folder / "iter_20.pth")["state_dict"] for folder in (one, two))
    assert all(torch.allclose(first[name], second[name], rtol=1e-5, atol=1e-6) for name in first)


def test_metrics_count_every_sample_once(pair):
    first, second = (json.loads((folder / "metrics.json").read_text()) for folder in pair)
    assert first["accuracy"] == second["accuracy"]
    assert first["iterations"] == second["iterations"]


def test_each_process_saves_its_random_state(pair):
    states = checkpoint.load(pair[1] / "iter_20.pth")["random_state"]
    assert len(states) == 2


def test_the_launcher_option_without_a_launcher(tmp_path, toy_config, clipapps_cli, monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    result = clipapps_cli("train", toy_config, "--work-dir", tmp_path / "run", "--launcher", "pytorch")
    assert result.code == 2
    assert "torchrun --nproc-per-node 2" in result.err


def children_of(process: int) -> list[int]:
    found = subprocess.run(["ps", "--ppid", str(process), "-o", "pid="], capture_output=True, text=True, check=False)
    return [int(word) for word in found.stdout.split()]


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_process_ends_the_other_and_leaves_no_orphan(tmp_path, toy_config, lost):
    """Killed with SIGKILL: the other one ends within a minute, and so do the data workers of both."""
    launcher = launch(toy_config, tmp_path, "train_cfg.max_iters=100000", "default_hooks.logger.interval=1",
                      "train_dataloader.num_workers=1")
    for line in launcher.stdout:
        if line.startswith("train 5/"):
            break
    ranks = children_of(launcher.pid)
    workers = [worker for rank in ranks for worker in children_of(rank)]
    assert len(ranks) == 2 and len(workers) >= 2
    os.kill(ranks[lost], signal.SIGKILL)
    start = time.monotonic()
    launcher.communicate(timeout=90)
    assert launcher.returncode != 0
    while any(is_running(process) for process in (*ranks, *workers)) and time.monotonic() - start < 60:
        time.sleep(0.5)
    assert time.monotonic() - start < 60
