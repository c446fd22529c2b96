"""A step that runs out of memory is undone, saved, and answered with three cures to paste."""

from __future__ import annotations

import re

import pytest
import torch

from clipapps.engine import checkpoint, resume
from clipapps.engine.config import load_config
from clipapps.engine.hooks.step_start import described
from clipapps.engine.out_of_memory import cures
from clipapps.errors import OutOfMemoryError, is_out_of_memory

KEEP = ("default_hooks.checkpoint.max_keep=9", "train_dataloader.dataset.augment=True", "model.dropout=0.3")
COMPARED = ("state_dict", "optimizer", "param_schedulers", "random_state")


def same(first: dict, second: dict) -> bool:
    a, b = ({key: content[key] for key in COMPARED} for content in (first, second))
    return str(a) == str(b) and all(torch.equal(a["state_dict"][name], b["state_dict"][name]) for name in
                                    a["state_dict"])


@pytest.mark.parametrize("how", ["host", "device", "backward"])
def test_the_step_is_undone_and_saved_and_the_run_goes_on_to_the_same_bits(tmp_path, train_toy, how):
    train_toy(tmp_path / "whole", *KEEP)
    with pytest.raises(OutOfMemoryError) as caught:
        train_toy(tmp_path / "hungry", *KEEP, "default_hooks.checkpoint.interval=100", f"model.hungry=(14, '{how}')")
    message = str(caught.value)
    assert "Out of memory in step 14, with a batch of 4" in message
    assert "iter_13.pth is saved" in message
    assert checkpoint.load(resume.pointed(tmp_path / "hungry"))["meta"]["iter"] == 13
    train_toy(tmp_path / "hungry", *KEEP, "model.hungry=()", resume=True)
    assert same(*(checkpoint.load(tmp_path / name / "iter_40.pth") for name in ("whole", "hungry")))


def test_the_command_line_prints_overrides_that_work(tmp_path, toy_config, clipapps_cli):
    result = clipapps_cli("train", toy_config, "--work-dir", tmp_path, "model.hungry=(14, 'host')")
    assert result.code == 4
    assert "Traceback" not in result.err
    first, second, third = (line for line in result.err.splitlines() if re.match(r"  \d\. ", line))
    assert "2 of them an update (still 4 samples; a step then sees less, train_cfg.max_iters=80" in first
    assert second.endswith("--amp")
    assert "computed again in the backward pass" in third
    command = next(line for line in result.err.splitlines() if "clipapps train" in line).split()[1:]
    cure = first.rpartition(":  ")[2].split()
    assert cure == ["train_dataloader.batch_size=2", "optim_wrapper.accumulative_counts=2"]
    cured = clipapps_cli(*command, *cure, "--amp", "model.hungry=()")
    assert cured.code == 0, cured.err


def test_an_update_that_fails_half_way_is_not_saved(tmp_path, train_toy, monkeypatch):
    original, steps = torch.optim.AdamW.step, []

    def step(self, *arguments, **more):
        steps.append(1)
        if len(steps) == 14:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return original(self, *arguments, **more)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    with pytest.raises(OutOfMemoryError, match=r"in step 14, .*; iter_10\.pth is the newest checkpoint"):
        train_toy(tmp_path)
    assert [file.name for file in tmp_path.glob("*.pth")] == ["iter_10.pth"]


def test_out_of_memory_in_the_first_step_and_in_a_validation(tmp_path, train_toy, monkeypatch):
    with pytest.raises(OutOfMemoryError, match="in step 1, .*; nothing was saved yet"):
        train_toy(tmp_path / "a", "model.hungry=(1, 'host')")
    from engine_toy_task import ToyMetric

    def process(self, data_batch, data_samples):
        raise MemoryError

    monkeypatch.setattr(ToyMetric, "process", process)
    with pytest.raises(OutOfMemoryError, match=r"between two training steps; iter_20\.pth is the newest"):
        train_toy(tmp_path / "b")


def test_a_disk_error_on_the_way_is_not_hidden(tmp_path, train_toy, monkeypatch):
    from clipapps.errors import DiskError

    def save(*_, **__):
        raise DiskError("full")

    monkeypatch.setattr("clipapps.engine.checkpoint.save", save)
    with pytest.raises(DiskError):
        train_toy(tmp_path, "model.hungry=(2, 'host')", "default_hooks.checkpoint.interval=100")


def test_cures_of_a_real_config_are_overrides_that_its_check_accepts():
    name = "denseclip/denseclip_fpn_rn50_80k_ade20k_512"
    found = cures(load_config(name))
    overrides = [word for cure in found for word in cure.split() if re.match(r"[\w.]+=\S+$", word.rstrip(","))
                 and not word.startswith("train_cfg")]
    assert "train_dataloader.dataset.pipeline.3.crop_size=[256,256]" in overrides
    assert "model.backbone.grad_checkpoint=True" in overrides
    changed = load_config(name, overrides)
    assert changed.train_dataloader.dataset.pipeline[3].crop_size == [256, 256]
    assert changed.train_dataloader.batch_size * changed.optim_wrapper.accumulative_counts == load_config(
        name).train_dataloader.batch_size


def test_recomputing_activations_is_no_other_model():
    from mmengine import Config

    old, new = (Config(dict(model=dict(type="A", backbone=dict(type="B", **more)))) for more in
                ({}, {"grad_checkpoint": True}))
    resume.print_config_changes(old, new)


@pytest.mark.parametrize(("error", "is_one"), [
    (MemoryError(), True), (torch.OutOfMemoryError("x"), True), (RuntimeError("CUDA error: out of memory"), True),
    (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling"), True), (RuntimeError("shapes differ"), False),
    (ValueError("out of memory"), False)])
def test_what_counts_as_out_of_memory(error, is_one):
    assert is_out_of_memory(error) is is_one


def test_batches_in_words():
    assert described(None) == "a batch"
    assert described({"inputs": [torch.zeros(4)] * 3}) == "a batch of 3, each of shape (4,)"
    assert described({"inputs": torch.zeros(2, 3, 8, 9)}).startswith("a batch of 2, pictures of up to 8 x 9 pixels")
