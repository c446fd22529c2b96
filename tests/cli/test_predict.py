"""`clipapps predict`: a project's own options, folders, and runs that go on; with a project that needs no model."""

from __future__ import annotations

import inspect
import json
import os
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clipapps import inference
from clipapps.cli.main import main
from clipapps.data.images import write_image
from clipapps.engine.ledger import FILE_NAME
from clipapps.project import PredictOption, Project, comma_separated, discover


@dataclass
class Scaled(inference.Result):
    mean: float = 0.0

    def plot(self) -> inference.Image:
        return self.image

    def to_dict(self) -> dict[str, Any]:
        return {"mean": self.mean}


class Scaler(inference.Inferencer):
    seen: list[str] = []
    stop_at: str | None = None

    def __init__(self, weights: Any, device: Any, scale_by: float = 1.0, is_loud: bool = False,
                 classes: list[str] | None = None) -> None:
        self.scale_by, self.classes = scale_by, classes

    def predict(self, image: inference.Image, name: str) -> Scaled:
        if name == self.stop_at:
            raise KeyboardInterrupt
        self.seen.append(name)
        return Scaled(name, image, mean=float(image.mean()) * self.scale_by)


@pytest.fixture(autouse=True)
def scaler(monkeypatch: pytest.MonkeyPatch) -> type[Scaler]:
    record = Project("scaler", "none", "scales", inferencer="scaler_module:Scaler", predict_options=(
        PredictOption("scale_by", "multiplies the mean", float, "F"), PredictOption("is_loud", "says more"),
        PredictOption("classes", "class names", comma_separated, "NAMES")))
    other = Project("other", "none", "has an option of its own", inferencer="scaler_module:Scaler",
                    predict_options=(PredictOption("depth", "of the other", int),))
    monkeypatch.setattr("clipapps.project.discover", lambda: {"scaler": record, "other": other})
    module = types.ModuleType("scaler_module")
    module.Scaler = Scaler
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(Scaler, "seen", [])
    monkeypatch.setattr(Scaler, "stop_at", None)
    return Scaler


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two pictures and one each in two sub-folders, all of other brightness."""
    names = ("a.png", "b.png", "trip/a.png", "trip/day2/c.png")
    for value, name in enumerate(names, start=1):
        file = tmp_path / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        write_image(file, np.full((4, 6, 3), value, np.uint8))
    return tmp_path / "photos"


def predict(*words: object) -> int:
    return main(["predict", "scaler", *map(str, words), "--device", "cpu"])


def test_help_shows_the_options_of_the_named_project_only(capsys: pytest.CaptureFixture[str]):
    assert main(["predict", "scaler", "--help"]) == 0
    text = capsys.readouterr().out
    assert "options of scaler" in text and "--scale-by F" in text and "multiplies the mean" in text
    assert "--depth" not in text
    assert main(["predict", "--weights", "other", "--help", "other"]) == 0
    assert "--depth" in capsys.readouterr().out
    assert main(["predict", "--help"]) == 0
    assert "--scale-by" not in capsys.readouterr().out


def test_options_reach_the_inferencer_before_and_behind_the_project(photos: Path, tmp_path: Path):
    assert predict(photos / "b.png", "--scale-by", 10, "--out", tmp_path / "out") == 0
    assert json.loads((tmp_path / "out" / "b.json").read_text())["mean"] == 20
    words = ["predict", "--scale-by", "4", "--device", "cpu", "scaler", str(photos / "b.png"), "--out",
             str(tmp_path / "two")]
    assert main(words) == 0
    assert json.loads((tmp_path / "two" / "b.json").read_text())["mean"] == 8


@pytest.mark.parametrize(("words", "said"), [
    (("--scale_by", "1"), "unknown option '--scale_by'. Did you mean '--scale-by'?"),
    (("--depth", "1"), "unknown option '--depth'"),
    (("--scale-by", "much"), "invalid float value: 'much'"),
    (("--classes", " , "), "names nothing"),
])
def test_wrong_options_are_explained(photos: Path, capsys: pytest.CaptureFixture[str], words: tuple[str], said: str):
    assert predict(photos / "a.png", *words) == 2
    message = capsys.readouterr().err
    assert said in message and "Traceback" not in message


def test_an_unknown_project_is_named_even_when_its_options_are_unknown_too(capsys: pytest.CaptureFixture[str]):
    assert main(["predict", "scalr", "x.png", "--scale-by", "2"]) == 2
    assert "no project 'scalr'. Did you mean 'scaler'?" in capsys.readouterr().err


def test_sub_folders_are_mirrored(photos: Path, tmp_path: Path, scaler: type[Scaler]):
    out = tmp_path / "out"
    assert predict(photos, "--out", out) == 0
    assert scaler.seen == ["a", "b"]
    assert predict(photos, "--recursive", "--out", out) == 0
    means = {str(file.relative_to(out)): json.loads(file.read_text())["mean"] for file in out.rglob("*.json")}
    assert means == {"a.json": 1, "b.json": 2, "trip/a.json": 3, "trip/day2/c.json": 4}
    assert scaler.seen == ["a", "b", "a", "c"]  # the second run did only what was new


def test_a_stopped_run_goes_on(photos: Path, tmp_path: Path, scaler: type[Scaler],
                               capsys: pytest.CaptureFixture[str]):
    words = (photos, "--recursive", "--out", tmp_path / "out")
    scaler.stop_at = "b"
    assert predict(*words) == 130
    (tmp_path / "out" / "b.png.tmp-999999999").write_text("half-written by a process that is gone")
    scaler.stop_at, scaler.seen[:] = None, []
    assert predict(*words) == 0
    assert scaler.seen == ["b", "a", "c"] and "1 of 4 inputs are done already" in capsys.readouterr().err
    assert not list((tmp_path / "out").rglob("*.tmp-*"))
    assert predict(*words) == 0 and len(scaler.seen) == 3


def test_what_changed_is_done_again(photos: Path, tmp_path: Path, scaler: type[Scaler]):
    words = (photos, "--out", tmp_path / "out")
    assert predict(*words) == 0
    os.utime(photos / "b.png", ns=(1, 1))
    (tmp_path / "out" / "a.json").unlink()
    for more, seen in (((), ["a", "b"]), (("--scale-by", 2), ["a", "b"]), (("--scale-by", 2), []),
                       (("--scale-by", 2, "--overwrite"), ["a", "b"])):
        scaler.seen[:] = []
        assert predict(*words, *more) == 0 and scaler.seen == seen, more


def test_a_damaged_list_of_results_costs_only_time(photos: Path, tmp_path: Path, scaler: type[Scaler]):
    words = (photos, "--out", tmp_path / "out")
    assert predict(*words) == 0
    ledger = tmp_path / "out" / FILE_NAME
    ledger.write_bytes(b'\xff\x00 7\n[]\n{"source": 3}\n' + ledger.read_bytes()[:-9])
    scaler.seen[:] = []
    assert predict(*words) == 0 and scaler.seen == ["b"]


def test_results_in_the_inputs_folder_are_no_inputs_later(photos: Path, scaler: type[Scaler]):
    before = {file: file.read_bytes() for file in photos.glob("*.png")}
    for _ in range(2):
        assert predict(photos, "--out", photos, "--overwrite") == 0
    assert scaler.seen == ["a", "b"] * 2
    assert {file: file.read_bytes() for file in before} == before
    assert {file.name for file in photos.glob("*.png")} == {"a.png", "b.png", "a_result.png", "b_result.png"}


def test_no_source_is_replaced_through_links(photos: Path, tmp_path: Path):
    (tmp_path / "door").symlink_to(photos)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.png").symlink_to(photos / "b.png")
    before = {file: file.read_bytes() for file in photos.glob("*.png")}
    for source, out in ((photos / "a.png", tmp_path / "door"), (tmp_path / "door" / "b.png", photos),
                        (tmp_path / "elsewhere" / "a.png", photos), (tmp_path / "elsewhere" / "a.png",
                                                                     tmp_path / "elsewhere")):
        assert predict(source, photos / "a.png", "--out", out) == 0
    assert {file: file.read_bytes() for file in before} == before
    assert (tmp_path / "elsewhere" / "a.png").is_symlink()


def test_an_input_that_is_missing_is_said_at_once(photos: Path, scaler: type[Scaler],
                                                  capsys: pytest.CaptureFixture[str]):
    assert predict(photos, "nowhere", "--out", photos.parent / "out") == 2
    assert "no file or folder nowhere" in capsys.readouterr().err and not scaler.seen


@pytest.mark.parametrize("project", [record for record in discover().values() if isinstance(record, Project)],
                         ids=lambda record: record.name)
def test_declared_options_are_arguments_of_the_inferencer(project: Project):
    if not project.predict_options:
        pytest.skip(f"{project.name} declares none")
    parameters = inspect.signature(project.part("inferencer")).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        pytest.skip(f"{project.name} hands its options on")
    assert {option.name for option in project.predict_options} <= parameters.keys()
