"""Default hooks, and the rules of saving and drawing."""

from __future__ import annotations

import json

import pytest
import torch
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook

from clipapps.engine import checkpoint, runner
from clipapps.engine.config import load_config
from clipapps.engine.hooks import DEFAULT_HOOKS, CheckpointHook, SamplePictureHook, merge_default_hooks
from clipapps.errors import ConfigError


def test_a_config_changes_replaces_and_drops_default_hooks():
    merged = merge_default_hooks(dict(logger=dict(interval=3), checkpoint=dict(type=MMEngineCheckpointHook, interval=2),
                                      timer=None, ema=dict(type="EMAHook")))
    assert merged["logger"] == {"type": DEFAULT_HOOKS["logger"], "interval": 3}
    assert merged["checkpoint"] == {"type": MMEngineCheckpointHook, "interval": 2}
    assert "timer" not in merged
    assert merged["ema"] == {"type": "EMAHook"}
    assert merge_default_hooks(None).keys() == DEFAULT_HOOKS.keys()


@pytest.mark.parametrize(("rule", "name", "score", "best", "better"), [
    ("auto", "mIoU", 0.5, 0.4, True), ("auto", "val_loss", 0.5, 0.4, False), ("less", "mIoU", 0.5, 0.4, False),
    ("greater", "loss", 0.5, 0.4, True), ("auto", "mIoU", 0.5, 0.5, False)])
def test_which_score_is_better(rule, name, score, best, better):
    assert CheckpointHook(rule=rule)._is_better(name, score, best) is better


def test_the_deciding_metric():
    metrics = {"mIoU": 0.1, "aAcc": 0.2}
    assert CheckpointHook()._deciding(metrics) == "mIoU"
    assert CheckpointHook(save_best="aAcc")._deciding(metrics) == "aAcc"
    with pytest.raises(ConfigError, match="Did you mean 'mIoU'?"):
        CheckpointHook(save_best="mIou")._deciding(metrics)


@pytest.mark.parametrize("arguments", [dict(interval=0), dict(max_keep=0), dict(rule="bigger")])
def test_impossible_settings(arguments):
    with pytest.raises(ConfigError, match="CheckpointHook"):
        CheckpointHook(**arguments)


def test_the_best_score_survives_a_resume(tmp_path, train_toy):
    """A worse validation after the resume must not replace the best weights of before."""
    train_toy(tmp_path, "train_cfg.max_iters=20", "train_cfg.val_interval=20")
    before = checkpoint.load(tmp_path / "best.safetensors")
    scores = [record["accuracy"] for record in map(json.loads, (tmp_path / "scalars.jsonl").open())
              if record["mode"] == "val"]
    train_toy(tmp_path, "train_cfg.max_iters=21", "train_cfg.val_interval=1", "optim_wrapper.optimizer.lr=0.0",
              "val_dataloader.dataset.size=2", resume=True)
    after = [record["accuracy"] for record in map(json.loads, (tmp_path / "scalars.jsonl").open())
             if record["mode"] == "val"]
    assert after[: len(scores)] == scores
    assert after[-1] < max(scores)
    now = checkpoint.load(tmp_path / "best.safetensors")
    assert all(torch.equal(before[name], now[name]) for name in before)


def test_no_best_weights_when_nobody_wants_them(tmp_path, train_toy):
    train_toy(tmp_path, "default_hooks.checkpoint.save_best=None")
    assert not (tmp_path / "best.safetensors").exists()


def test_best_weights_are_those_that_were_validated_under_ema(tmp_path, toy_config):
    overrides = ["custom_hooks=[{'type': 'EMAHook', 'momentum': 0.5}]", "train_cfg.val_interval=40"]
    runner.train(load_config(toy_config, overrides), tmp_path)
    content = checkpoint.load(tmp_path / "iter_40.pth")  # its state_dict is the average, as mmengine stores it
    best = checkpoint.load(tmp_path / "best.safetensors")
    assert torch.equal(best["net.0.weight"], content["state_dict"]["net.0.weight"])
    assert not torch.equal(best["net.0.weight"], content["ema_state_dict"]["module.net.0.weight"])


def test_histories_in_the_message_hub_stay_short(tmp_path, train_toy):
    """Long ones are copied at every step and written into every checkpoint."""
    train_toy(tmp_path, "default_hooks.runtime_info.history=7", "train_cfg.max_iters=20")
    histories = checkpoint.load(tmp_path / "iter_20.pth")["message_hub"]["log_scalars"]
    lengths = {name: len(buffer.data[0]) for name, buffer in histories.items() if name.startswith("train/")}
    assert {"train/lr", "train/loss"} <= lengths.keys() and set(lengths.values()) == {7}


def test_pictures_are_spread_over_the_set_and_never_more_than_asked_for():
    class Loader:
        dataset = range(100)

    hook = SamplePictureHook(painter=object(), count=4)
    hook._choose(Loader)
    assert list(hook._wanted) == [0, 33, 66, 99]
    Loader.dataset = range(2)
    hook._choose(Loader)
    assert list(hook._wanted) == [0, 1]


def test_pictures_at_every_other_validation(tmp_path, toy_config):
    from engine_toy_task import BarPainter

    painted = []

    class Counting(BarPainter):
        def paint(self, inputs, sample, dataset_meta):
            painted.append(1)
            return super().paint(inputs, sample, dataset_meta)

    cfg = load_config(toy_config, ["train_cfg.val_interval=10"])
    cfg.custom_hooks = [dict(type=SamplePictureHook, painter=dict(type=Counting), count=2, interval=2)]
    runner.train(cfg, tmp_path)
    assert len(painted) == 2 * 3  # the first, the third, and the last
