"""The one-call API: inputs of every kind, saved results, and clear refusals."""

from __future__ import annotations

import json
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

import clipapps
from clipapps import inference
from clipapps.cli.main import main
from clipapps.data.images import read_image, write_image
from clipapps.errors import BadSampleError, DataError, UserError
from clipapps.project import PredictOption, Project, comma_separated


@dataclass
class Brightness(inference.Result):
    """A result with one number."""

    mean: float = 0.0

    def plot(self) -> inference.Image:
        return 255 - self.image

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "mean": self.mean}


class Photometer(inference.Inferencer):
    """Measures mean brightness."""

    def __init__(self, weights: Any, device: Any, scale: float = 1.0, classes: list[str] | None = None,
                 is_loud: bool = False) -> None:
        self.device, self.scale = device, scale

    def predict(self, image: inference.Image, name: str) -> Brightness:
        return Brightness(name, image, mean=float(image.mean()) * self.scale)


@pytest.fixture(autouse=True)
def photometer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A project `photometer` whose inferencer is the one above."""
    record = Project("photometer", "none", "measures light", inferencer="photometer_module:Photometer",
                     predict_options=(PredictOption("scale", "factor", float, "F"),
                                      PredictOption("classes", "class names", comma_separated, "NAMES"),
                                      PredictOption("is_loud", "says more")))
    monkeypatch.setattr("clipapps.project.discover", lambda: {"photometer": record})
    module = types.ModuleType("photometer_module")
    module.Photometer = Photometer
    monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.fixture()
def folder(tmp_path: Path) -> Path:
    """Two pictures, black and white, and a file that is none."""
    for name, value in (("black", 0), ("white", 255)):
        write_image(tmp_path / f"{name}.png", np.full((4, 6, 3), value, np.uint8))
    (tmp_path / "notes.txt").write_text("not a picture")
    return tmp_path


def test_every_kind_of_input_gives_the_same_number(folder: Path) -> None:
    meter, path = inference.load("photometer"), folder / "white.png"
    array = read_image(path)
    for one in (path, str(path), array, PILImage.open(path), [array]):
        assert [result.mean for result in meter(one)] == [255.0]


def test_tensors_are_pictures_with_channels_in_front() -> None:
    batch = torch.stack([torch.zeros(3, 4, 6), torch.ones(3, 4, 6)])
    meter = inference.load("photometer")
    assert [(r.name, r.mean) for r in meter(batch)] == [("image0_0", 0.0), ("image0_1", 255.0)]
    assert [r.mean for r in meter((batch[1] * 255).to(torch.uint8))] == [255.0]


def test_an_iterator_is_not_looked_ahead_into(folder: Path) -> None:
    asked = []

    def frames():
        for value in (1, 2, 3):
            asked.append(value)
            yield np.full((4, 6, 3), value, np.uint8)

    stream = inference.load("photometer").stream(frames())
    first = next(stream)
    assert (first.name, first.mean, asked) == ("000000_image0", 1.0, [1])
    assert [r.mean for r in stream] == [2.0, 3.0]
    names = [r.name for r in inference.load("photometer")(iter([folder / "white.png", str(folder / "white.png")]))]
    assert names == ["000000_white", "000001_white"]


class Counter(Photometer):
    """Notes how many pictures come at once, and has no room for more than some."""

    room = 100

    def predict_batch(self, images, names):
        sizes.append(len(images))
        if len(images) > self.room:
            raise torch.OutOfMemoryError("no more")
        return super().predict_batch(images, names)


sizes: list[int] = []


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch):
    sizes.clear()
    monkeypatch.setattr(sys.modules["photometer_module"], "Photometer", Counter)
    return inference.load("photometer", batch_size=2)


def test_batches_hold_pictures_of_one_size_in_order(counter) -> None:
    pictures = [np.full((4, width, 3), width, np.uint8) for width in (6, 6, 6, 8, 8, 6)]
    assert [r.mean for r in counter(pictures)] == [6, 6, 6, 8, 8, 6]
    assert sizes == [2, 1, 2, 1]


def test_what_stands_before_a_broken_file_is_answered(counter, folder: Path) -> None:
    (folder / "c.png").write_bytes(b"broken")
    stream = counter.stream([folder / "black.png", folder / "c.png"])
    assert next(stream).name == "black"
    with pytest.raises(BadSampleError, match=r"c\.png"):
        next(stream)


def test_a_batch_without_room_goes_one_by_one(counter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counter, "room", 1)
    assert [r.mean for r in counter([np.full((4, 6, 3), v, np.uint8) for v in (5, 7)])] == [5, 7]
    monkeypatch.setattr(Counter, "room", 0)
    with pytest.raises(torch.OutOfMemoryError):
        counter(np.zeros((4, 6, 3), np.uint8))


def test_the_precision_reaches_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(Photometer, "predict", lambda self, image, name: seen.append(
        (torch.ones(2, 2) @ torch.ones(2, 2)).dtype) or Brightness(name, image))
    for precision in ("float32", "bfloat16"):
        inference.load("photometer", precision=precision, device="cpu")(np.zeros((4, 6, 3), np.uint8))
    assert seen == [torch.float32, torch.bfloat16]


@pytest.mark.parametrize(("options", "words"), [
    (dict(precision="float16", device="cpu"), "float16.*choose one of float32, bfloat16"),
    (dict(precision="half"), "'half'"), (dict(batch_size=0), "at least 1, not 0")])
def test_wrong_settings_are_explained(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        inference.load("photometer", **options)


def test_a_folder_gives_its_images_by_name(folder: Path) -> None:
    results = inference.load("photometer", scale=2.0)(folder)
    assert [(r.name, r.mean) for r in results] == [("black", 0.0), ("white", 510.0)]


def test_results_are_saved_as_picture_and_json(folder: Path, tmp_path: Path) -> None:
    paths = inference.load("photometer")(folder).save(tmp_path / "new" / "out")
    assert [path.name for path in paths] == ["black.png", "black.json", "white.png", "white.json"]
    assert read_image(paths[0]).min() == 255
    assert json.loads(paths[3].read_text()) == {"name": "white", "mean": 255.0}


def test_streaming_reads_one_input_at_a_time(folder: Path) -> None:
    (folder / "zebra.png").write_bytes(b"broken")
    stream = inference.load("photometer").stream(folder)
    assert next(stream).name == "black" and next(stream).name == "white"
    with pytest.raises(BadSampleError, match="zebra.png"):
        next(stream)


@pytest.mark.parametrize(("value", "message"), [
    ("nowhere.jpg", "no file or folder nowhere.jpg"),
    (np.zeros((4, 4), np.uint8), r"shape \(4, 4\).*expected .*\(H, W, 3\) uint8"),
    (np.zeros((4, 4, 3), np.float32), "type float32"),
])
def test_wrong_inputs_are_explained(value: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        inference.load("photometer")(value)


def test_empty_folder_is_explained(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds nothing to work on; expected files ending in .3gp"):
        inference.load("photometer")(tmp_path)


def test_unknown_option_and_device_are_explained() -> None:
    with pytest.raises(UserError, match="unexpected keyword argument 'clases'"):
        inference.load("photometer", clases=["a"])
    with pytest.raises(UserError, match="no device 'gpu'"):
        inference.load("photometer", device="gpu")


def test_predict_does_the_good_files_and_reports_the_bad_one(
        folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no more")
    out = tmp_path / "out"
    assert main(["predict", "photometer", str(folder), "--out", str(out)]) == 2
    captured = capsys.readouterr()
    assert (out / "black.json").is_file() and (out / "white.png").is_file() and not (out / "broken.png").exists()
    assert "1 of 3 inputs could not be used" in captured.err and "broken.jpg" in captured.err
    assert "Traceback" not in captured.err


def test_predict_refuses_an_empty_class_list(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "photometer", str(folder), "--classes", " , "]) == 2
    assert "names nothing" in capsys.readouterr().err


def test_load_is_a_public_name() -> None:
    assert clipapps.load is inference.load


def test_results_never_replace_an_input(folder: Path) -> None:
    before = (folder / "white.png").read_bytes()
    assert main(["predict", "photometer", str(folder / "white.png"), "--out", str(folder)]) == 0
    paths = inference.load("photometer")(folder / "white.png").save(folder)
    assert [path.name for path in paths] == ["white_result.png", "white_result.json"]
    assert (folder / "white.png").read_bytes() == before and paths[0].is_file()


def test_files_that_share_a_stem_get_results_of_their_own(folder: Path, tmp_path: Path) -> None:
    write_image(folder / "black.jpg", np.full((4, 6, 3), 100, np.uint8))
    out = tmp_path / "out"
    assert main(["predict", "photometer", str(folder), "--out", str(out)]) == 0
    means = {path.stem: json.loads(path.read_text())["mean"] for path in out.glob("*.json")}
    assert means.keys() == {"black_jpg", "black_png", "white"}
    assert means["black_png"] == 0 and means["black_jpg"] == pytest.approx(100, abs=2)
    assert [result.name for result in inference.load("photometer")(folder)] == ["black_jpg", "black_png", "white"]


def test_a_caller_between_two_results_is_not_in_inference_mode(folder: Path) -> None:
    for _ in inference.load("photometer").stream(folder):
        assert not torch.is_inference_mode_enabled()


def test_a_folder_that_cannot_be_written_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "taken").write_text("a file, not a folder")
    assert main(["predict", "photometer", str(folder), "--out", str(folder / "taken" / "out")]) in (2, 3)
    assert "taken" in capsys.readouterr().err
