"""Training and testing end to end on the toy task."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from clipapps.engine import checkpoint, runner
from clipapps.engine.config import load_config
from clipapps.errors import ConfigError, DiskError, NonFiniteLossError, UserError, WeightsError

TWENTY_LOSSES = [0.7633, 0.7787, 0.7649, 0.8584, 0.6463, 0.6653, 0.5655, 0.6161, 0.6937, 0.6344,
                 0.5731, 0.6790, 0.4926, 0.5898, 0.4666, 0.6232, 0.5564, 0.5617, 0.7840, 0.7985]


def test_a_run_leaves_everything_in_one_folder(tmp_path, train_toy, capsys):
    metrics = train_toy(tmp_path / "run", "default_hooks.curves={}", seed=3)
    assert sorted(os.listdir(tmp_path / "run")) == [
        "best.safetensors", "config.py", "curves.png", "iter_30.pth", "iter_40.pth", "last_checkpoint", "metrics.json",
        "scalars.jsonl", "train.log"]
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == metrics
    assert {key: metrics[key] for key in ("config", "seed", "iterations", "device")} == {
        "config": "toy_config", "seed": 3, "iterations": 40, "device": "cpu"}
    assert 0.5 < metrics["accuracy"] <= 1.0
    assert "\x1b" not in capsys.readouterr().out


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path, train_toy):
    weights = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train_toy(tmp_path / name, "train_dataloader.dataset.augment=True", seed=seed)
        weights.append(checkpoint.load(tmp_path / name / "iter_40.pth")["state_dict"]["net.0.weight"])
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_the_losses_of_twenty_steps_are_what_they_always_were(tmp_path, train_toy):
    """Four decimals of each; a change needs a reason in its commit."""
    train_toy(tmp_path, "default_hooks.logger.interval=1", "train_cfg.max_iters=20",
              "train_dataloader.dataset.augment=True", seed=0)
    losses = [round(record["loss"], 4) for record in map(json.loads, (tmp_path / "scalars.jsonl").open())
              if record["mode"] == "train"]
    assert losses == pytest.approx(TWENTY_LOSSES, abs=1.01e-4)


def test_the_work_folder_config_starts_the_same_run(tmp_path, train_toy):
    train_toy(tmp_path / "a", "model.width=5")
    metrics = runner.train(load_config(tmp_path / "a" / "config.py"), tmp_path / "b")
    assert metrics["config"] == "toy_config"
    first, second = (checkpoint.load(tmp_path / name / "iter_40.pth")["state_dict"] for name in ("a", "b"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert (tmp_path / "a" / "config.py").read_text() == (tmp_path / "b" / "config.py").read_text()


def test_testing_needs_no_pretrained_weights_and_gives_the_number_of_the_validation(tmp_path, train_toy, toy_config,
                                                                                   monkeypatch):
    from engine_toy_task import ToyModel

    trained = train_toy(tmp_path / "run")
    monkeypatch.setattr(ToyModel, "init_weights", lambda self: pytest.fail("init_weights was called"))
    for weights in ("iter_40.pth",):
        metrics = runner.test(load_config(toy_config), tmp_path / "run" / weights, tmp_path / "out")
        assert metrics["accuracy"] == trained["accuracy"]
        assert metrics["iterations"] == 0
    assert sorted(os.listdir(tmp_path / "out")) == ["metrics.json", "test.log"]


def test_best_weights_are_those_of_the_best_validation(tmp_path, train_toy, toy_config):
    train_toy(tmp_path, "train_cfg.val_interval=5")
    scores = {record["step"]: record["accuracy"] for record in map(json.loads, (tmp_path / "scalars.jsonl").open())
              if record["mode"] == "val"}
    metadata = checkpoint.read_metadata(tmp_path / "best.safetensors")
    assert json.loads(metadata["score"]) == max(scores.values())
    assert scores[json.loads(metadata["step"])] == max(scores.values())
    assert json.loads(metadata["classes"]) == ["negative", "positive"]
    best = runner.test(load_config(toy_config), tmp_path / "best.safetensors", tmp_path / "out")
    assert best["accuracy"] == max(scores.values())


def test_no_more_checkpoints_than_asked_for(tmp_path, train_toy):
    train_toy(tmp_path, "default_hooks.checkpoint.interval=4", "default_hooks.checkpoint.max_keep=3")
    assert sorted(file.name for file in tmp_path.glob("*.pth")) == ["iter_32.pth", "iter_36.pth", "iter_40.pth"]
    assert (tmp_path / "last_checkpoint").read_text().strip() == "iter_40.pth"


def test_a_second_run_sets_the_first_aside(tmp_path, train_toy):
    first = train_toy(tmp_path, seed=1)
    (tmp_path / "notes.txt").write_text("mine")
    train_toy(tmp_path, "train_cfg.max_iters=10", "train_cfg.val_interval=10", seed=2)
    assert sorted(file.name for file in tmp_path.glob("*.pth")) == ["iter_10.pth"]
    assert json.loads((tmp_path / "previous" / "metrics.json").read_text()) == first
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_starts_that_fail_do_not_cost_the_last_good_run(tmp_path, train_toy):
    first = train_toy(tmp_path, seed=1)
    for _ in range(2):
        with pytest.raises(ConfigError):
            train_toy(tmp_path, "train_dataloader.batch_size=0")
    assert json.loads((tmp_path / "previous" / "metrics.json").read_text()) == first


def test_starting_from_weights(tmp_path, train_toy):
    train_toy(tmp_path / "a")
    train_toy(tmp_path / "b", f"load_from={tmp_path / 'a' / 'best.safetensors'}", "train_cfg.max_iters=1",
              "optim_wrapper.optimizer.lr=0.0", "optim_wrapper.optimizer.weight_decay=0.0")
    started = checkpoint.load(tmp_path / "b" / "iter_1.pth")["state_dict"]["net.0.weight"]
    assert torch.equal(started, checkpoint.load(tmp_path / "a" / "best.safetensors")["net.0.weight"])


def test_weights_of_another_model(tmp_path, train_toy, toy_config):
    train_toy(tmp_path)
    with pytest.raises(WeightsError, match="does not fit ToyModel: 0 missing, 0 unexpected, 7 of another shape"):
        runner.test(load_config(toy_config, ["model.width=9"]), tmp_path / "iter_40.pth", tmp_path / "out")


def test_a_config_without_a_test_set(tmp_path, toy_config):
    cfg = load_config(toy_config, ["test_dataloader=None", "test_cfg=None", "test_evaluator=None"])
    with pytest.raises(ConfigError, match="has no test_dataloader"):
        runner.test(cfg, tmp_path / "w.pth", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_training_without_validation(tmp_path, train_toy):
    metrics = train_toy(tmp_path, "val_dataloader=None", "val_cfg=None", "val_evaluator=None",
                        "default_hooks.curves={}")
    assert metrics["iterations"] == 40
    assert (tmp_path / "curves.png").is_file()


def test_an_epoch_based_loop(tmp_path, toy_config):
    cfg = load_config(toy_config)
    cfg.train_cfg = dict(by_epoch=True, max_epochs=2, val_interval=1)
    cfg.train_dataloader.sampler.type = "DefaultSampler"
    cfg.default_hooks.checkpoint.interval = 1
    metrics = runner.train(cfg, tmp_path)
    assert metrics["iterations"] == 16
    assert sorted(file.name for file in tmp_path.glob("*.pth")) == ["epoch_1.pth", "epoch_2.pth"]


def test_five_losses_in_a_row_that_are_not_finite_end_the_run(tmp_path, train_toy):
    with pytest.raises(NonFiniteLossError, match="loss is not finite at step 16, the last of 5 such steps in a row"):
        train_toy(tmp_path, "model.poison=(3, 4, 5, 6, 12, 13, 14, 15, 16)")
    assert sorted(file.name for file in tmp_path.glob("*.pth")) == ["bad_batch.pth", "iter_10.pth"]
    assert not (tmp_path / "metrics.json").exists()
    batch = checkpoint.load(tmp_path / "bad_batch.pth")
    assert len(batch["inputs"]) == len(batch["sample_idx"]) == 4


def test_a_folder_that_cannot_be_written_is_found_before_anything_is_built(tmp_path, train_toy, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("clipapps.engine.runner.Runner.from_cfg", lambda cfg: pytest.fail("built"))
    with pytest.raises(DiskError, match="cannot be written"):
        train_toy(tmp_path / "file" / "run")


def test_a_device_that_is_not_there(tmp_path, train_toy):
    for device, words in (("tpu9", "There is no device 'tpu9'"), ("cuda:99", "cuda:99")):
        with pytest.raises(UserError, match=words):
            train_toy(tmp_path / "run", device=device)
    assert not (tmp_path / "run").exists() or os.listdir(tmp_path / "run") == []


def test_mixed_precision_on_a_cpu(tmp_path, train_toy):
    metrics = train_toy(tmp_path / "amp", amp=True)
    assert metrics["accuracy"] > 0.5
    plain = train_toy(tmp_path / "plain")
    first, second = (checkpoint.load(tmp_path / name / "iter_40.pth")["state_dict"]["net.0.weight"]
                     for name in ("amp", "plain"))
    assert not torch.equal(first, second)
    assert torch.allclose(first, second, atol=0.05)
    assert plain["seed"] == 0
    again = runner.train(load_config(tmp_path / "amp" / "config.py"), tmp_path / "again")
    assert again["accuracy"] == metrics["accuracy"]


def test_tensorboard_gets_the_numbers(tmp_path, train_toy):
    """Every scalar of `scalars.jsonl` is read back from the event file, at its step."""
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train_toy(tmp_path, "visualizer.vis_backends=[{'type': 'TensorboardVisBackend'}]")
    files = list(tmp_path.rglob("events.out.tfevents*"))
    assert len(files) == 1
    events = reader.EventAccumulator(str(files[0].parent)).Reload()
    for record in map(json.loads, (tmp_path / "scalars.jsonl").open()):
        mode, step = record.pop("mode"), record.pop("step")
        assert record
        for name, value in record.items():
            found = {event.step: event.value for event in events.Scalars(f"{mode}/{name}")}
            assert found[step] == pytest.approx(value, rel=1e-4), name
    assert {"train/loss", "train/lr", "val/accuracy"} <= set(events.Tags()["scalars"])


def test_log_files_are_closed(tmp_path, train_toy):
    before = len(os.listdir("/proc/self/fd"))
    for run in range(3):
        train_toy(tmp_path / str(run), "train_cfg.max_iters=2")
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_metrics_that_are_no_number_stay_out_of_the_json():
    values = [1, True, torch.tensor(0.5), "text", [1.0], float("nan"), torch.ones(2)]
    assert [runner._number(value) for value in values] == [1.0, 1.0, 0.5, None, None, None, None]


def test_pictures_of_the_same_few_samples(tmp_path, toy_config):
    from engine_toy_task import BarPainter

    cfg = load_config(toy_config)
    cfg.custom_hooks = [dict(type="SamplePictureHook", painter=dict(type=BarPainter), count=3)]
    runner.train(cfg, tmp_path)
    assert sorted(os.listdir(tmp_path / "pictures")) == ["sample_00.png", "sample_01.png", "sample_02.png"]
    weights = tmp_path / "iter_40.pth"
    runner.test(cfg, weights, tmp_path / "out")
    assert len(os.listdir(tmp_path / "out" / "pictures")) == 3


def test_a_painter_that_fails_does_not_stop_training(tmp_path, toy_config):
    from engine_toy_task import BarPainter

    cfg = load_config(toy_config)
    cfg.custom_hooks = [dict(type="SamplePictureHook", painter=dict(type=BarPainter, reason="no paint"))]
    assert runner.train(cfg, tmp_path)["iterations"] == 40
    assert "no paint" in (tmp_path / "train.log").read_text()


def test_the_command_line(tmp_path, toy_config, clipapps_cli):
    run = clipapps_cli("train", toy_config, "--work-dir", tmp_path / "a", "--seed", "5", "train_cfg.max_iters=20",
                       "--cfg-options", "model.width=6")
    assert run.code == 0, run.err
    assert "accuracy" in run.out
    assert str(tmp_path / "a" / "metrics.json") in run.out
    tested = clipapps_cli("test", toy_config, tmp_path / "a" / "best.safetensors", "--out", tmp_path / "t",
                          "model.width=6")
    assert tested.code == 0, tested.err
    assert (tmp_path / "t" / "metrics.json").is_file()
    resumed = clipapps_cli("train", toy_config, "--work-dir", tmp_path / "a", "--resume", "train_cfg.max_iters=30",
                           "model.width=6")
    assert resumed.code == 0, resumed.err
    assert json.loads((tmp_path / "a" / "metrics.json").read_text())["iterations"] == 30
    assert "- train_cfg = dict(by_epoch=False, max_iters=20" in resumed.out


@pytest.mark.parametrize(("arguments", "code", "words"), [
    (["train", "CONFIG", "model.widht=1"], 2, "Did you mean 'width'?"),
    (["train", "CONFIG", "model.poison=[3,4,5,6,7]"], 5, "Lower the learning rate"),
    (["train", "CONFIG", "--device", "nothing"], 2, "There is no device"),
    (["train", "CONFIG", "--resume", "none.pth"], 2, "none.pth"),
    (["test", "CONFIG", "none.pth"], 2, "There is no weights file none.pth"),
    (["train", "CONFIG", "load_from=none.pth"], 2, "There is no weights file none.pth"),
])
def test_wrong_input_gets_a_sentence_and_its_exit_code(tmp_path, toy_config, clipapps_cli, arguments, code, words):
    arguments = [str(toy_config) if argument == "CONFIG" else argument for argument in arguments]
    folder = "--out" if arguments[0] == "test" else "--work-dir"
    result = clipapps_cli(*arguments, folder, tmp_path / "run")
    assert result.code == code
    assert words in result.err
    assert "Traceback" not in result.err
    assert not list(Path(tmp_path).rglob("*.pth")) or code == 5


def test_hostile_weights_are_refused_at_both_doors(tmp_path, toy_config, clipapps_cli):
    class Payload:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'it_ran'}",)

    torch.save({"state_dict": {}, "x": Payload()}, tmp_path / "w.pth")
    for arguments in (["test", toy_config, tmp_path / "w.pth", "--out", tmp_path / "t"],
                      ["train", toy_config, "--work-dir", tmp_path / "r", f"load_from={tmp_path / 'w.pth'}"],
                      ["train", toy_config, "--work-dir", tmp_path / "r", "--resume", tmp_path / "w.pth"]):
        result = clipapps_cli(*arguments)
        assert result.code == 2
        assert "posix.system" in result.err
        assert not (tmp_path / "it_ran").exists()
