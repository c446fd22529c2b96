"""Progress lines on a terminal and elsewhere, and scalars.jsonl."""

from __future__ import annotations

import io
import json
import re

import pytest

from clipapps.engine import runner
from clipapps.engine.config import load_config
from clipapps.engine.hooks.progress import ProgressLogger, _clock, keep_until


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def run(toy_config, folder, stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, *overrides: str, **hook) -> str:
    monkeypatch.setattr("sys.stdout", stream)
    cfg = load_config(toy_config, overrides)
    cfg.default_hooks.logger.update(hook)
    runner.train(cfg, folder)
    return stream.getvalue()


def test_plain_lines_elsewhere(tmp_path, toy_config, monkeypatch):
    text = run(toy_config, tmp_path, io.StringIO(), monkeypatch)
    lines = [line for line in text.splitlines() if line]
    assert [line.split()[0] for line in lines] == ["train", "train", "val", "train", "train", "val"]
    assert re.match(r"train 10/40  eta \d:\d\d  loss 0\.\d+  lr 0\.0079  \d+ ms/step \(data \d+\)  \d+ MiB$", lines[0])
    assert re.match(r"val   step 20  accuracy 0\.\d+$", lines[2])  # single classes stay in the files
    assert "\r" not in text
    assert "\x1b" not in text


def test_one_live_line_on_a_terminal(tmp_path, toy_config, monkeypatch):
    text = run(toy_config, tmp_path, Terminal(), monkeypatch, refresh=1e9)
    assert text.count("\rtrain ") >= 40
    assert text.count("\n") == 2  # one for each validation, which is kept
    drawn = text.split("\r")
    longest = max(len(part.rstrip()) for part in drawn)
    assert longest < 160
    validations = [part for part in drawn if part.startswith("val   step")]
    assert [part.endswith("\n") for part in validations] == [True, True]


def test_each_json_line_is_one_logging_step(tmp_path, toy_config, monkeypatch):
    run(toy_config, tmp_path, io.StringIO(), monkeypatch, interval=7)
    records = [json.loads(line) for line in (tmp_path / "scalars.jsonl").read_text().splitlines()]
    assert [(record["mode"], record["step"]) for record in records] == [
        ("train", 7), ("train", 14), ("val", 20), ("train", 21), ("train", 28), ("train", 35), ("train", 40),
        ("val", 40)]
    assert {"loss", "lr", "time", "data_time", "eta", "memory"} <= records[0].keys()
    assert records[-2]["eta"] == 0
    assert set(records[-1]) == {"mode", "step", "accuracy", "per/class"}


def test_a_train_value_is_the_mean_since_the_last_line(tmp_path, toy_config, monkeypatch):
    run(toy_config, tmp_path / "a", io.StringIO(), monkeypatch, interval=1)
    run(toy_config, tmp_path / "b", io.StringIO(), monkeypatch, interval=10)
    single, mean = ([json.loads(line)["loss"] for line in (tmp_path / name / "scalars.jsonl").read_text().splitlines()
                     if "loss" in line] for name in "ab")
    assert mean[1] == pytest.approx(sum(single[10:20]) / 10, rel=1e-4)


def test_a_step_that_is_not_finite_leaves_no_hole_in_the_curve(tmp_path, toy_config, monkeypatch):
    text = run(toy_config, tmp_path, io.StringIO(), monkeypatch, "model.poison=(5,)")
    assert "step 5 skipped: loss is not finite; samples [" in text
    assert all(json.loads(line)["loss"] > 0 for line in (tmp_path / "scalars.jsonl").read_text().splitlines()
               if "train" in line)


def test_lines_after_a_step_are_dropped(tmp_path):
    file = tmp_path / "s.jsonl"
    file.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    keep_until(file, 2)
    assert file.read_text() == '{"step": 1}\n{"step": 2}\n'
    keep_until(file, 0)
    assert file.read_text() == ""
    keep_until(tmp_path / "new.jsonl", 5)
    assert (tmp_path / "new.jsonl").read_text() == ""


def test_clock():
    shown = [_clock(seconds) for seconds in (0, 59.9, 61, 3600, 90061)]
    assert shown == ["0:00", "0:59", "1:01", "1:00:00", "25:01:01"]


def test_the_hook_can_be_built_by_name():
    from clipapps.registry import HOOKS

    assert isinstance(HOOKS.build(dict(type="ProgressLogger", interval=3)), ProgressLogger)
