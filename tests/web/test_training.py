"""A training started from the page: it runs in its own process, shows itself, and ends when told to."""

from __future__ import annotations

import shlex

import pytest

from clipapps.web.training import TrainingRun

SMALL = ("model.backbone.weights=None", "train_dataloader.batch_size=1", "train_dataloader.num_workers=0",
         "train_dataloader.persistent_workers=False", "val_dataloader.dataset.num_scenes=1")
CONFIG = "denseclip/fpn_tiny_toyworld"


@pytest.fixture
def run():
    runs = []

    def make(*overrides: str, **options: float) -> TrainingRun:
        runs.append(TrainingRun(CONFIG, (*SMALL, *overrides), **options))
        runs[-1].start()
        return runs[-1]

    yield make
    for one in runs:
        one.close()


def test_a_run_shows_its_end(run) -> None:
    training = run("train_cfg.max_iters=2", "train_cfg.val_interval=2")
    *_, last = training.watch(every=0.2)
    assert last.is_over and last.status.startswith("Done: 2 steps"), last.status
    assert [record["step"] for record in last.records if record["mode"] == "val"] == [2]
    assert len(last.pictures) > 0


def test_a_run_that_is_stopped_ends_and_leaves_nothing(run) -> None:
    training = run("train_cfg.max_iters=100000")
    training.stop()
    assert training.look().is_over and training.look().status.startswith("Stopped")
    folder = training.work_dir.parent
    training.close()
    assert not folder.exists()


def test_a_run_that_takes_too_long_is_stopped(run) -> None:
    *_, last = run("train_cfg.max_iters=100000", max_seconds=0.5).watch(every=0.1)
    assert last.status.startswith("Stopped")


def test_a_wrong_config_says_why(run) -> None:
    *_, last = run("train_cfg.max_iter=2").watch(every=0.2)
    assert "ended with code 2" in last.status and "max_iter" in last.status


def test_the_command_line_says_the_same() -> None:
    run = TrainingRun("backlit/rave_tiny_toyworld", ("a.b=[1, 2]",))
    assert shlex.split(run.command_line) == ["clipapps", "train", "backlit/rave_tiny_toyworld", "a.b=[1, 2]"]
