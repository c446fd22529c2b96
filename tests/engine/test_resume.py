"""A run that is stopped and resumed ends in the same bits as one that is not."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from clipapps.engine import checkpoint, resume, runner
from clipapps.engine.config import load_config
from clipapps.errors import WeightsError

OVERRIDES = ("train_dataloader.dataset.augment=True", "optim_wrapper.clip_grad.max_norm=1.0",
             "default_hooks.checkpoint.max_keep=9",
             "custom_hooks=[{'type':'EMAHook','momentum':0.1,'begin_iter':5}]")
COMPARED = ("state_dict", "ema_state_dict", "optimizer", "param_schedulers", "random_state")


def leaves(node: Any, path: str = "") -> dict[str, Any]:
    if isinstance(node, dict):
        return {key: leaf for name, item in node.items() for key, leaf in leaves(item, f"{path}.{name}").items()}
    if isinstance(node, list):
        return {key: leaf for place, item in enumerate(node) for key, leaf in leaves(item, f"{path}.{place}").items()}
    return {path: node}


def differences(first: Path, second: Path) -> list[str]:
    """Names of everything that differs between two checkpoints; all that decides how training goes on is compared."""
    a, b = (leaves({key: checkpoint.load(file)[key] for key in COMPARED}) for file in (first, second))
    assert a.keys() == b.keys()
    assert len(a) > 600
    return [key for key in a
            if not (torch.equal(a[key], b[key]) if isinstance(a[key], torch.Tensor) else a[key] == b[key])]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    """A run of 40 steps with dropout, batch norm, EMA, clipping and random augmentation."""
    folder = tmp_path_factory.mktemp("undisturbed")
    config = Path(__file__).parent / "task" / "toy_config.py"
    runner.train(load_config(config, OVERRIDES), folder)
    return folder


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


def start(folder: Path, *overrides: str, delay: float = 0.0) -> subprocess.Popen[str]:
    """The toy task in a process of its own, resuming whatever is in `folder`; `delay` slows every step and save."""
    script = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent / "task")!r})
import torch
from mmengine.hooks import Hook
from clipapps.engine import checkpoint, runner
from clipapps.engine.config import load_config
original = torch.save
def slow(content, stream):
    original(content, stream)
    stream.flush()
    print("saving", flush=True)
    time.sleep({delay})
torch.save = slow
class Slow(Hook):
    def after_train_iter(self, runner, **_):
        time.sleep({delay} / 10)
cfg = load_config({str(Path(__file__).parent / "task" / "toy_config.py")!r}, {list(overrides)!r})
cfg.custom_hooks = [*cfg.get("custom_hooks", []), dict(type=Slow)]
runner.train(cfg, {str(folder)!r}, resume=True)
"""
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill_while_training(folder: Path, generator: random.Random, inside_a_save: bool) -> None:
    process = start(folder, *OVERRIDES, delay=0.3)
    saves = generator.randrange(1, 3)
    for line in process.stdout:
        saves -= line.startswith("saving")
        if saves == 0:
            break
    if not inside_a_save:
        time.sleep(0.3 + generator.random() * 0.2)
    process.kill()
    process.communicate()


def test_a_killed_run_ends_in_the_same_bits(tmp_path, undisturbed, train_toy):
    """SIGKILL inside a save and between saves, then one undisturbed rest."""
    generator = random.Random(4)
    for inside in (True, False):
        kill_while_training(tmp_path, generator, inside)
        opened = resume.pointed(tmp_path)
        assert opened is None or checkpoint.load(opened)["meta"]["iter"] > 0
    train_toy(tmp_path, *OVERRIDES, resume=True)
    assert differences(undisturbed / "iter_40.pth", tmp_path / "iter_40.pth") == []
    assert not list(tmp_path.glob("*.tmp-*"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_many_killed_runs_end_in_the_same_bits(tmp_path, undisturbed, train_toy, seed):
    generator = random.Random(seed)
    for kill in range(3):
        kill_while_training(tmp_path, generator, inside_a_save=kill % 2 == seed % 2)
    train_toy(tmp_path, *OVERRIDES, resume=True)
    assert differences(undisturbed / "iter_40.pth", tmp_path / "iter_40.pth") == []


def signaled(folder: Path, step: int, number: signal.Signals) -> tuple[int, str, float]:
    """Exit code, error output, and seconds from the signal to the end of a process signaled after a step."""
    process = start(folder, *OVERRIDES, "default_hooks.checkpoint.interval=100", "default_hooks.logger.interval=1",
                    delay=0.5)
    for line in process.stdout:
        if line.startswith(f"train {step}/"):
            break
    before = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    return process.returncode, err, time.monotonic() - before


def test_signals_save_and_say_how_to_go_on(tmp_path, undisturbed, train_toy):
    for number, step, code in ((signal.SIGTERM, 7, 143), (signal.SIGINT, 25, 130)):
        returned, err, seconds = signaled(tmp_path, step, number)
        assert returned == code, err
        assert seconds < 15  # 5 on a machine of its own
        assert "is saved. Go on with:" in err
        assert f"--work-dir {tmp_path} --resume" in err
        saved = resume.pointed(tmp_path)
        assert saved is not None
        assert step <= checkpoint.load(saved)["meta"]["iter"] < step + 10
    train_toy(tmp_path, *OVERRIDES, resume=True)
    assert differences(undisturbed / "iter_40.pth", tmp_path / "iter_40.pth") == []


def test_a_full_disk_while_saving_keeps_the_last_checkpoint(tmp_path, undisturbed, train_toy):
    """After two good saves the file-size limit drops: exit code 3, and the run goes on once there is room."""
    script = f"""
import resource, signal, sys
sys.path.insert(0, {str(Path(__file__).parent / "task")!r})
from mmengine.hooks import Hook
from clipapps.cli.main import explain
from clipapps.engine import runner
from clipapps.engine.config import load_config
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
class Full(Hook):
    def after_train_iter(self, runner, **_):
        if runner.iter == 25:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4000, resource.RLIM_INFINITY))
cfg = load_config({str(Path(__file__).parent / "task" / "toy_config.py")!r}, {list(OVERRIDES)!r})
cfg.default_hooks.checkpoint.max_keep = 1
cfg.custom_hooks = [*cfg.custom_hooks, dict(type=Full)]
try:
    runner.train(cfg, {str(tmp_path)!r})
except Exception as error:
    message, code = explain(error)
    print(message)
    sys.exit(code)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 3, result.stderr
    assert "iter_30.pth cannot be written" in result.stdout
    assert "bytes free" in result.stdout
    assert not list(tmp_path.glob("*.tmp-*"))
    assert [file.name for file in tmp_path.glob("*.pth")] == ["iter_20.pth"]
    train_toy(tmp_path, *OVERRIDES, resume=True)
    assert differences(undisturbed / "iter_40.pth", tmp_path / "iter_40.pth") == []


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
