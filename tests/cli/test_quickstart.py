"""`clipapps quickstart`: what it starts, what it says, and how it fails."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from clipapps.cli import quickstart
from clipapps.errors import ClipAppsError


@pytest.fixture
def trainings(monkeypatch):
    """Replace the training processes: each writes the given metrics.json, or exits with the given code."""
    commands = []

    def pretend(*outcomes):
        remaining = list(outcomes)

        def start(command):
            commands.append(command)
            outcome = remaining.pop(0)
            if isinstance(outcome, int):
                return SimpleNamespace(wait=lambda: outcome)
            folder = Path(command[command.index("--work-dir") + 1])
            folder.mkdir(parents=True)
            (folder / "metrics.json").write_text(json.dumps(outcome))
            return SimpleNamespace(wait=lambda: 0)

        monkeypatch.setattr(quickstart.subprocess, "Popen", start)
        return commands

    return pretend


def test_trains_baseline_and_method_and_compares_them(clipapps_cli, trainings, tmp_path):
    commands = trainings({"mIoU": 0.5, "mIoU_foreground": 0.4}, {"mIoU": 0.625, "mIoU_foreground": 0.55})
    result = clipapps_cli("quickstart", "--work-dir", tmp_path / "q", "--seed", "3", "train_cfg.max_iters=4")
    assert result.code == 0
    assert [command[command.index("train") + 1] for command in commands] == [quickstart.BASELINE, quickstart.METHOD]
    assert all(command[-1] == "train_cfg.max_iters=4" and "3" in command for command in commands)
    table = [line.split() for line in result.out.splitlines()]
    assert ["50.0", "40.0"] in [words[-2:] for words in table] and ["62.5", "55.0"] in [words[-2:] for words in table]
    assert "+12.5 points of mIoU" in result.out
    assert str(tmp_path / "q" / "denseclip_fpn_tiny_toyworld" / "pictures") in result.out
    assert len([line for line in result.out.splitlines() if line.startswith("  clipapps ")]) == 3


@pytest.mark.parametrize(("outcome", "code"), [(2, 2), (5, 5), (-2, 130), (-15, 143)])
def test_a_failed_training_ends_it_with_the_same_code(clipapps_cli, trainings, tmp_path, outcome, code):
    commands = trainings(outcome)
    assert clipapps_cli("quickstart", "--work-dir", tmp_path).code == code
    assert len(commands) == 1


def test_an_interrupted_training_is_given_the_time_to_save(clipapps_cli, monkeypatch, tmp_path):
    answers = [KeyboardInterrupt(), 130]

    def wait():
        answer = answers.pop(0)
        if isinstance(answer, int):
            return answer
        raise answer

    monkeypatch.setattr(quickstart.subprocess, "Popen", lambda command: SimpleNamespace(wait=wait))
    assert clipapps_cli("quickstart", "--work-dir", tmp_path).code == 130
    assert not answers


@pytest.mark.parametrize("content", ["", "{}", '{"mIoU": null}', "[1]"])
def test_metrics_without_a_figure_are_refused_by_name(tmp_path, content):
    file = tmp_path / "metrics.json"
    file.write_text(content)
    with pytest.raises(ClipAppsError, match=r"metrics\.json holds no mIoU"):
        quickstart.read_metrics(file)


@pytest.mark.slow
def test_real_trainings_of_a_few_steps(clipapps_cli, tmp_path):
    result = clipapps_cli("quickstart", "--work-dir", tmp_path, "--device", "cpu", "train_cfg.max_iters=2",
                          "train_cfg.val_interval=2")
    assert result.code == 0, result.err
    for run in ("fpn_tiny_toyworld", "denseclip_fpn_tiny_toyworld"):
        assert 0 <= json.loads((tmp_path / run / "metrics.json").read_text())["mIoU"] <= 1
        assert list((tmp_path / run / "pictures").glob("*.png"))
