"""A run that is stopped and resumed ends in the same bits as one that is not."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_comparison import OVERRIDES, differences

from clipapps.engine import checkpoint, resume, runner
from clipapps.engine.config import load_config
from clipapps.errors import WeightsError


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("step", [10, 20, 30])
def test_resuming_is_bit_exact_whatever_the_workers(tmp_path, undisturbed, train_toy, workers, step):
    if workers == 1 and step != 20:
        pytest.skip("one step is enough")
    train_toy(tmp_path, *OVERRIDES, f"train_dataloader.num_workers={workers}", resume=undisturbed / f"iter_{step}.pth")
    assert differences(undisturbed / "iter_40.pth", tmp_path / "iter_40.pth") == []


def test_other_validation_and_other_logging_change_nothing(tmp_path, undisturbed, train_toy):
    train_toy(tmp_path, *OVERRIDES, "val_dataloader.batch_size=3", "train_cfg.val_interval=7",
              "default_hooks.logger.interval=3", "default_hooks.checkpoint.interval=8")
    assert differences(undisturbed / "iter_40.pth", tmp_path / "iter_40.pth") == []


def test_an_epoch_based_run_resumes_exactly(tmp_path, toy_config):
    def config() -> Any:
        cfg = load_config(toy_config, OVERRIDES)
        cfg.train_cfg = dict(by_epoch=True, max_epochs=4, val_interval=2)
        cfg.train_dataloader.sampler.type = "DefaultSampler"
        cfg.default_hooks.checkpoint.interval = 1
        return cfg

    runner.train(config(), tmp_path / "a")
    runner.train(config(), tmp_path / "b", resume=tmp_path / "a" / "epoch_2.pth")
    assert differences(tmp_path / "a" / "epoch_4.pth", tmp_path / "b" / "epoch_4.pth") == []


def test_accumulated_gradients_survive(tmp_path, train_toy):
    accumulate = ("optim_wrapper.accumulative_counts=4", "default_hooks.checkpoint.interval=10")
    train_toy(tmp_path / "a", *OVERRIDES, *accumulate)
    train_toy(tmp_path / "b", *OVERRIDES, *accumulate, resume=tmp_path / "a" / "iter_10.pth")
    assert differences(tmp_path / "a" / "iter_40.pth", tmp_path / "b" / "iter_40.pth") == []


def test_scalars_hold_each_step_once(tmp_path, train_toy):
    train_toy(tmp_path, "default_hooks.checkpoint.max_keep=9")
    (tmp_path / "last_checkpoint").write_text("iter_20.pth\n")
    with (tmp_path / "scalars.jsonl").open("a") as stream:
        stream.write('{"mode": "train", "st')  # a line that a kill cut short
    train_toy(tmp_path, "default_hooks.checkpoint.max_keep=9", resume=True)
    records = [(record["mode"], record["step"]) for record in map(__import__("json").loads,
                                                                  (tmp_path / "scalars.jsonl").open())]
    assert records == [("train", 10), ("train", 20), ("val", 20), ("train", 30), ("train", 40), ("val", 40)]


def test_a_damaged_checkpoint_is_passed_over(tmp_path, undisturbed, train_toy, caplog):
    for name in ("iter_20.pth", "iter_30.pth"):
        shutil.copy(undisturbed / name, tmp_path)
    whole = (tmp_path / "iter_30.pth").read_bytes()
    (tmp_path / "iter_30.pth").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "last_checkpoint").write_text("iter_30.pth\n")
    found, complaints = resume.newest(tmp_path)
    assert found == tmp_path / "iter_20.pth"
    assert "iter_30.pth" in complaints[0]
    train_toy(tmp_path, *OVERRIDES, resume=True)
    assert "iter_30.pth" in caplog.text
    assert differences(undisturbed / "iter_40.pth", tmp_path / "iter_40.pth") == []


def test_resuming_without_a_checkpoint_starts_anew(tmp_path, train_toy):
    assert train_toy(tmp_path, resume=True)["iterations"] == 40


def test_resuming_a_finished_run_reports_again(tmp_path, train_toy):
    first = train_toy(tmp_path)
    again = train_toy(tmp_path, resume=True)
    assert again["accuracy"] == first["accuracy"]


def test_weights_alone_cannot_be_resumed(tmp_path, train_toy):
    train_toy(tmp_path / "a")
    with pytest.raises(WeightsError, match="weights only"):
        train_toy(tmp_path / "b", resume=tmp_path / "a" / "best.safetensors")


def test_other_changes_of_the_config_are_shown(tmp_path, train_toy, capsys):
    train_toy(tmp_path)
    assert train_toy(tmp_path, "model.width=8", "optim_wrapper.optimizer.lr=0.02", resume=True)
    shown = capsys.readouterr().out
    assert "-     optimizer=dict(lr=0.01" in shown
    assert "+     optimizer=dict(lr=0.02" in shown
    assert "The numbers of optimizer and schedules come from the checkpoint" in shown


def test_another_model_is_refused_unless_forced(tmp_path, train_toy, toy_config, clipapps_cli):
    """A part that the config names, and weights of another shape: both are told, and --force goes on with the rest."""
    train_toy(tmp_path, "train_cfg.max_iters=20", "custom_hooks=[{'type':'EMAHook'}]")
    before = checkpoint.load(tmp_path / "iter_20.pth")["state_dict"]
    common = ("train", toy_config, "--work-dir", tmp_path, "custom_hooks=[{'type':'EMAHook'}]")
    part = clipapps_cli(*common, "--resume", "model.dropout=0.2")
    assert part.code == 2 and "another model; model.dropout differs" in part.err
    shapes = clipapps_cli(*common, "--resume", tmp_path / "iter_20.pth", "model.depth=3", "--work-dir", tmp_path / "b",
                          "optim_wrapper.optimizer.lr=0.0", "optim_wrapper.optimizer.weight_decay=0.0")
    assert shapes.code == 2
    assert "2 missing, 0 unexpected, 0 of another shape" in shapes.err and "net.5.bias, net.5.weight" in shapes.err
    assert "--force" in shapes.err and not (tmp_path / "b").exists()
    forced = clipapps_cli(*common, "--resume", "--force", "model.depth=3", "model.dropout=0.2",
                          "optim_wrapper.optimizer.lr=0.0", "optim_wrapper.optimizer.weight_decay=0.0",
                          "train_cfg.max_iters=21")
    assert forced.code == 0, forced.err
    assert "+ model = dict(depth=3" in forced.out
    assert "Going on with the 9 that fit; the optimizer starts anew" in forced.out
    after = checkpoint.load(tmp_path / "iter_21.pth")["state_dict"]
    assert torch.equal(before["net.0.weight"], after["net.0.weight"])
    assert set(after) - set(before) == {"net.5.weight", "net.5.bias"}


def test_another_optimizer_is_refused_unless_forced(tmp_path, train_toy, capsys):
    train_toy(tmp_path, "train_cfg.max_iters=20")
    groups = ("optim_wrapper.paramwise_cfg={'bias_lr_mult': 2.0}",)
    with pytest.raises(WeightsError, match=r"The optimizer of .*iter_20\.pth does not fit"):
        train_toy(tmp_path, *groups, resume=True)
    assert train_toy(tmp_path, *groups, resume=True, force=True)["iterations"] == 40
    assert "it starts anew" in capsys.readouterr().out


def test_force_goes_with_resume(tmp_path, toy_config, clipapps_cli):
    result = clipapps_cli("train", toy_config, "--work-dir", tmp_path / "run", "--force")
    assert result.code == 2 and "--force goes with --resume" in result.err


def test_signals_are_left_as_they_were(tmp_path, train_toy):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    train_toy(tmp_path, "train_cfg.max_iters=2")
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert os.getpid() > 0


def test_a_checkpoint_of_release_0_1_0_resumes(tmp_path, train_toy):
    """The file was written by that release; whoever changes the format keeps reading it."""
    train_toy(tmp_path, "train_dataloader.dataset.augment=True",
              resume=Path(__file__).parent / "files" / "iter_20_of_0.1.0.pth")
    resumed = checkpoint.load(tmp_path / "iter_40.pth")
    assert resumed["meta"]["iter"] == 40
    assert resumed["state_dict"]["net.0.weight"].isfinite().all()
