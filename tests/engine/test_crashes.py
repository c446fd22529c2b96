"""Killed, stopped, out of disk at any moment: a checkpoint is whole or not there, and the run ends in the same bits.

The runs are forked from one process that has torch loaded, and all are compared with one undisturbed run.
"""

from __future__ import annotations

import errno
import os
import random
import re
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from engine_comparison import OVERRIDES, differences

from clipapps.engine import atomic, checkpoint, resume
from clipapps.errors import DiskError

STAGES = ("half", "written", "renamed")
INTERVAL = "default_hooks.checkpoint.interval=4"


def command(config: Path, folder: Path, *overrides: str) -> tuple[str | Path, ...]:
    return ("train", config, "--work-dir", folder, "--device", "cpu", "--resume", *OVERRIDES, *overrides)


def kill_at_a_random_moment(server, arguments: tuple, generator: random.Random, *, inside_a_save: bool) -> str:
    """Kill a run with SIGKILL, inside a save at a chosen stage or between two steps; returns the stage."""
    process = server.start(*arguments, save=0.2 if inside_a_save else 0.0, step=0.0 if inside_a_save else 0.01)
    stage = generator.choice(STAGES) if inside_a_save else "step"
    wanted = generator.randrange(1, 5) if inside_a_save else generator.randrange(1, 20)
    for line in server.lines():
        wanted -= line.startswith(stage)
        if wanted == 0:
            break
    if server.status is None:
        time.sleep(generator.random() * 0.01)
        os.kill(process, signal.SIGKILL)
        server.wait()
    return stage


def survives(server, config: Path, folder: Path, whole: Path, seed: int) -> Counter[str]:
    """Up to three kills and a rest that is left alone; returns how many kills fell into which stage."""
    generator, stages = random.Random(seed), Counter()
    for kill in range(generator.randrange(1, 4)):
        stage = kill_at_a_random_moment(server, command(config, folder, INTERVAL), generator,
                                        inside_a_save=(kill + seed) % 2 == 0)
        stages[stage] += server.status == -signal.SIGKILL
        pointed = resume.pointed(folder)
        assert pointed is None or checkpoint.load(pointed)["meta"]["iter"] == resume.step_of(pointed)
    server.start(*command(config, folder, INTERVAL))
    assert server.wait() == 0
    assert differences(whole / "iter_40.pth", folder / "iter_40.pth") == []
    assert not list(folder.glob("*.tmp-*"))
    return stages


def test_five_killed_runs_end_in_the_same_bits(tmp_path, undisturbed, toy_config, fork_server):
    stages = Counter()
    for seed in range(5):
        stages += survives(fork_server, toy_config, tmp_path / str(seed), undisturbed, seed)
    assert stages["step"] >= 2
    assert sum(stages[stage] for stage in STAGES) >= 2


@pytest.mark.slow
def test_twenty_killed_runs_end_in_the_same_bits(tmp_path, undisturbed, toy_config, fork_server):
    stages = Counter()
    for seed in range(100, 120):
        stages += survives(fork_server, toy_config, tmp_path / str(seed), undisturbed, seed)
    print(dict(stages))
    assert sum(stages[stage] for stage in STAGES) >= 5
    assert all(stages[stage] for stage in STAGES)


def stopped(server, config: Path, folder: Path, number: signal.Signals, step: int) -> tuple[float, str]:
    """Seconds from the signal in the middle of a step to the end, and the words on standard error."""
    errors = folder.with_name(f"{folder.name}.err")
    process = server.start(*command(config, folder, "default_hooks.checkpoint.interval=100"), step=0.02,
                           errors=str(errors))
    for line in server.lines():
        step -= line.startswith("step")
        if step == 0:
            break
    before = time.monotonic()
    os.kill(process, number)
    server.wait()
    return time.monotonic() - before, errors.read_text()


def saves_when_stopped(server, config: Path, folder: Path, whole: Path, number: signal.Signals) -> None:
    generator = random.Random(int(number) + len(folder.name))
    step = generator.randrange(1, 19)
    seconds, said = stopped(server, config, folder, number, step)
    assert server.status == 128 + number, said
    assert seconds < 10  # 5 on a machine of its own
    assert f"Stopped at step {step}; iter_{step}.pth is saved. Go on with:" in said
    assert f"--work-dir {folder} --resume" in said
    assert checkpoint.load(resume.pointed(folder))["meta"]["iter"] == step
    server.start(*command(config, folder))
    assert server.wait() == 0
    assert differences(whole / "iter_40.pth", folder / "iter_40.pth") == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ten_signals_save_and_say_how_to_go_on(tmp_path, undisturbed, toy_config, fork_server, number):
    for run in range(5):
        saves_when_stopped(fork_server, toy_config, tmp_path / ("run" + "x" * run), undisturbed, number)


def is_caught(process: int, number: signal.Signals) -> bool:
    """Whether a process has a handler of its own for a signal; a noted signal gives SIGTERM back to the system."""
    status = Path(f"/proc/{process}/status").read_text()
    mask = next(line for line in status.splitlines() if line.startswith("SigCgt")).split()[1]
    return bool(int(mask, 16) >> (number - 1) & 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_second_signal_ends_at_once(tmp_path, undisturbed, toy_config, fork_server, number):
    process = fork_server.start(*command(toy_config, tmp_path / "run"), step=30.0, errors=str(tmp_path / "err"))
    next(line for line in fork_server.lines() if line.startswith("step"))
    os.kill(process, number)
    give_up = time.monotonic() + 60
    while is_caught(process, signal.SIGTERM) and time.monotonic() < give_up:  # until the first is noted: a second one
        time.sleep(0.05)  # of its kind before that would be lost
    before = time.monotonic()
    os.kill(process, number)
    fork_server.wait()
    assert time.monotonic() - before < 5
    assert fork_server.status == (-signal.SIGTERM if number == signal.SIGTERM else 130)


@pytest.mark.parametrize("place", ["byte 0", "byte 1", "half", "the last bytes"])
@pytest.mark.parametrize(("name", "left"), [("iter_30.pth", "iter_20.pth"), ("best.safetensors", "iter_20.pth"),
                                            ("metrics.json", "iter_40.pth")])
def test_a_full_disk_costs_nothing_but_the_file_at_hand(tmp_path, undisturbed, toy_config, fork_server, name, left,
                                                        place):
    """Three kinds of files fail at each of four bytes: exit code 3, and the run goes on once there is room."""
    size = (undisturbed / name).stat().st_size
    limit = {"byte 0": 0, "byte 1": 1, "half": size // 2, "the last bytes": size - 100}[place]
    started = ("train", toy_config, "--work-dir", tmp_path, "--device", "cpu", *OVERRIDES)
    fork_server.start(*started, "default_hooks.checkpoint.max_keep=1", full=(name, limit), errors=str(tmp_path / "err"))
    fork_server.wait()
    said = (tmp_path / "err").read_text()
    assert fork_server.status == 3, said
    assert f"{name} cannot be written" in said
    assert re.search(r"\([\d,]+ bytes free, [\d,]+ needed\)", said)
    assert not list(tmp_path.glob("*.tmp-*"))
    assert [file.name for file in tmp_path.glob("*.pth")] == [left]
    assert checkpoint.load(tmp_path / left)["meta"]["iter"] == resume.step_of(tmp_path / left)
    fork_server.start(*command(toy_config, tmp_path))
    assert fork_server.wait() == 0
    assert differences(undisturbed / "iter_40.pth", tmp_path / "iter_40.pth") == []


@pytest.mark.parametrize(("code", "words"), [
    (errno.EROFS, "Read-only file system"), (errno.EACCES, "Permission denied"), (errno.ENOSPC, "inodes")])
def test_a_folder_that_cannot_be_written_is_found_before_the_first_step(tmp_path, train_toy, monkeypatch, code, words):
    """Read-only, forbidden, and without inodes: nothing is built, nothing is left."""
    def refuse(path, *_, **__):
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(atomic, "open", refuse, raising=False)
    monkeypatch.setattr("clipapps.engine.runner.Runner.from_cfg", lambda cfg: pytest.fail("built"))
    with pytest.raises(DiskError, match=words):
        train_toy(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_work_folder_is_made_with_its_parents(tmp_path, train_toy):
    train_toy(tmp_path / "a" / "b c" / "d", "train_cfg.max_iters=1")
    assert (tmp_path / "a" / "b c" / "d" / "metrics.json").is_file()
