"""Data workers that are killed, hang, or raise: once without any effect, then with the sample's name."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from clipapps.engine import checkpoint
from clipapps.engine.watched_loader import WatchedLoader, _Draws
from clipapps.errors import SampleError

TROUBLED = "train_dataloader.dataset.type=engine_toy_task.TroubledData"
COMMON = ("train_dataloader.dataset.augment=True", "train_dataloader.num_workers=2")


def troubled(folder: Path, trouble: str, at: int, times: int) -> tuple[str, ...]:
    dataset = dict(trouble=trouble, at=at, times=times, counter=folder / "counter")
    return (TROUBLED, *COMMON, f"train_dataloader.timeout={4 if trouble == 'hang' else 30}",
            *(f"train_dataloader.dataset.{name}={value}" for name, value in dataset.items()))


def state(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(folder / "iter_40.pth")["state_dict"]


@pytest.fixture(scope="module")
def undisturbed_weights(tmp_path_factory) -> dict[str, torch.Tensor]:
    from clipapps.engine import runner
    from clipapps.engine.config import load_config

    folder = tmp_path_factory.mktemp("undisturbed_workers")
    runner.train(load_config(Path(__file__).parent / "task" / "toy_config.py", COMMON), folder)
    return state(folder)


@pytest.mark.parametrize(("trouble", "at", "more"), [
    ("kill", 0, ()), ("kill", 13, ()), ("kill", 31, ("train_dataloader.persistent_workers=True",)), ("hang", 7, ())])
def test_a_worker_that_is_lost_once_changes_nothing(tmp_path, train_toy, undisturbed_weights, capfd, trouble, at, more):
    assert train_toy(tmp_path, *troubled(tmp_path, trouble, at, 1), *more)["iterations"] == 40
    said = capfd.readouterr().err
    assert said.count("the workers are started once more") == 1
    assert f"at sample {at}:" in said
    assert all(torch.equal(value, undisturbed_weights[name]) for name, value in state(tmp_path).items())


def test_in_an_epoch_based_loop_too(tmp_path, toy_config):
    from clipapps.engine import runner
    from clipapps.engine.config import load_config

    states = []
    for name, overrides in (("a", COMMON), ("b", troubled(tmp_path, "kill", 5, 1))):
        cfg = load_config(toy_config, overrides)
        cfg.train_cfg = dict(by_epoch=True, max_epochs=2, val_interval=1)
        cfg.train_dataloader.sampler.type = "DefaultSampler"
        cfg.default_hooks.checkpoint.interval = 1
        runner.train(cfg, tmp_path / name)
        states.append(checkpoint.load(tmp_path / name / "epoch_2.pth")["state_dict"])
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize(("trouble", "at", "said"), [
    ("kill", 3, "ended unexpectedly at sample 3, and workers had been restarted before"),
    ("kill", 20, "ended unexpectedly at sample 20"), ("hang", 9, "gave no batch for 4 s at sample 9")])
def test_a_worker_that_is_lost_again_ends_the_run_with_the_sample(tmp_path, toy_config, clipapps_cli, trouble, at,
                                                                 said):
    started = time.monotonic()
    result = clipapps_cli("train", toy_config, "--work-dir", tmp_path / "run", *troubled(tmp_path, trouble, at, 9))
    assert result.code == 1
    assert said in result.err
    assert "Data worker " in result.err and "num_workers=0" in result.err and "Traceback" not in result.err
    assert time.monotonic() - started < 60


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_sample_that_raises_is_named_with_its_worker(tmp_path, train_toy, toy_config, clipapps_cli, workers,
                                                       monkeypatch):
    from engine_toy_task import ToyData

    def broken(self, index):
        raise ValueError(f"bad size of {index}")

    monkeypatch.setattr(ToyData, "__getitem__", broken)
    with pytest.raises(SampleError, match=r"Sample \d+ cannot be prepared"):
        train_toy(tmp_path / "a", f"train_dataloader.num_workers={workers}")
    result = clipapps_cli("train", toy_config, "--work-dir", tmp_path / "b", f"train_dataloader.num_workers={workers}")
    assert result.code == 1
    assert "ValueError: bad size of " in result.err and result.err.startswith("error: Sample ")
    assert ("(data worker " in result.err) is (workers > 0)
    assert "Traceback" not in result.err


@pytest.mark.parametrize(("error", "code", "said"), [
    (MemoryError(), 4, "Out of memory"), (ModuleNotFoundError("x", name="absent"), 2, "The package 'absent'")])
def test_what_is_not_the_samples_fault_keeps_its_message(tmp_path, toy_config, clipapps_cli, monkeypatch, error, code,
                                                         said):
    from engine_toy_task import ToyData

    def broken(self, index):
        raise error

    monkeypatch.setattr(ToyData, "__getitem__", broken)
    result = clipapps_cli("train", toy_config, "--work-dir", tmp_path / "run")
    assert result.code == code
    assert said in result.err and "Sample " not in result.err


def test_draws_are_repeated_until_their_batches_have_come():
    draws = _Draws([10, 11, 12, 13, 14])
    draws.begin()
    first = iter(draws)
    assert [next(first) for _ in range(4)] == [10, 11, 12, 13]
    draws.arrived()
    draws.repeat()
    assert len(draws) == 5
    second = iter(draws)
    assert [next(second), next(second), next(second)] == [11, 12, 13]
    draws.arrived()
    draws.repeat()
    assert list(draws) == [12, 13, 14]


def test_batches_of_several_epochs_come_in_order_and_workers_end_with_the_loader():
    for persistent in (False, True):
        loader = WatchedLoader(dataset=range(10), batch_size=3, num_workers=2, timeout=30,
                               persistent_workers=persistent)
        for _ in range(2):
            assert [batch.tolist() for batch in loader] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
        iterator = iter(loader)
        next(iterator)
        workers = list(loader._open[-1]._workers)
        started = time.monotonic()
        loader.close()
        assert not any(worker.is_alive() for worker in workers)
        assert time.monotonic() - started < 8
        assert len(loader) == 4


def test_two_iterations_at_a_time_do_not_disturb_each_other():
    loader = WatchedLoader(dataset=range(6), batch_size=2, num_workers=1, timeout=30)
    pairs = [(a.tolist(), b.tolist()) for a, b in zip(loader, loader, strict=True)]
    assert pairs == [([0, 1], [0, 1]), ([2, 3], [2, 3]), ([4, 5], [4, 5])]
    iterator = iter(loader)
    next(iterator)
    workers = list(loader._open[-1]._workers)
    del iterator
    assert not any(worker.is_alive() for worker in workers) and not loader._open
