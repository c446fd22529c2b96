"""Recognition in files, folders, arrays and cameras; windows, pictures, tables, and what is refused."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch

from clipapps.engine import checkpoint
from clipapps.engine.config import load_config
from clipapps.errors import BadSampleError, UserError, WeightsError
from clipapps.inference import load
from clipapps.projects.ila.convert import build_empty
from clipapps.projects.ila.inferencer import ILAInferencer, view_of
from clipapps.projects.ila.windows import central_square, cut_windows
from clipapps.registry import MODELS
from clipapps.toyworld import MOTIONS


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of the toy-world recipe, as a training leaves them."""
    torch.manual_seed(0)
    model = MODELS.build(load_config("ila/ila_tiny_toyworld", ["model.backbone.weights=None"]).model)
    file = tmp_path_factory.mktemp("weights") / "best.safetensors"
    checkpoint.save_weights(model.state_dict(), file, {"config": "ila_tiny_toyworld"})
    return file


@pytest.fixture(scope="module")
def inferencer(weights):
    return ILAInferencer(weights, window=1.0, top=3)


def film(seconds: float, fps: int = 10) -> np.ndarray:
    frames = np.zeros((int(seconds * fps), 48, 64, 3), np.uint8)
    for index, frame in enumerate(frames):
        frame[..., 0] = index
    return frames


def test_windows_cut_a_stream_and_sample_each_evenly():
    stream = ((index / 10, frame) for index, frame in enumerate(film(2.5)))
    windows = list(cut_windows(stream, 1.0, 4, 48, margin=1.0))
    assert [(window.start, round(window.end, 3)) for window in windows] == [(0.0, 1.0), (1.0, 2.0), (2.0, 2.5)]
    assert windows[1].frames.shape == (4, 48, 48, 3)
    assert windows[1].frames[:, 0, 0, 0].tolist() == [round(10 * time) for time in windows[1].times]
    assert len(set(windows[1].times)) == 4 and windows[2].times == tuple(sorted(windows[2].times))


@pytest.mark.parametrize("shape", [(90, 160, 3), (160, 90, 3), (31, 47, 3)])
def test_the_middle_of_a_frame_is_kept(shape):
    frame = np.zeros(shape, np.uint8)
    frame[shape[0] // 2 - 8:shape[0] // 2 + 8, shape[1] // 2 - 8:shape[1] // 2 + 8] = 255
    square = central_square(frame, 64)
    assert square.shape == (64, 64, 3) and square[32, 32, 0] == 255
    bright = np.argwhere(square[..., 0] > 127).mean(axis=0)
    assert np.abs(bright - 31.5).max() < 2


def test_an_array_gets_a_result_for_each_window_and_for_the_whole(inferencer, tmp_path):
    result = inferencer(film(2.5, fps=25))[0]
    assert len(result.windows) == 3 and result.class_names == tuple(MOTIONS)
    mean = np.average([window.scores for window in result.windows], axis=0, weights=[1, 1, 0.48])
    np.testing.assert_allclose(result.scores, mean, atol=1e-5)
    assert result.points.shape == (3, 4) and abs(result.points).max() <= 0.75
    names = [path.name for path in result.save(tmp_path)]
    assert names == ["video0.png", "video0.json", "video0.csv", "video0_timeline.png"]
    facts = json.loads((tmp_path / "video0.json").read_text())
    assert [entry["name"] for entry in facts["top"]] == [name for name, _ in result.best()] and len(facts["top"]) == 3
    rows = list(csv.reader((tmp_path / "video0.csv").open()))
    assert rows[0] == ["start", "end", *MOTIONS] and len(rows) == 4
    assert sum(map(float, rows[1][2:])) == pytest.approx(1, abs=1e-4)


def test_files_are_read_and_a_damaged_one_is_named(inferencer, tmp_path):
    pytest.importorskip("av")
    from clipapps.data.video.writing import write_video

    write_video(tmp_path / "b.mp4", film(0.8), fps=10)
    (tmp_path / "c.mp4").write_bytes(b"no video")
    shares = []
    inferencer.progress = shares.append
    results = inferencer.stream(tmp_path)
    found = next(results)
    assert found.name == "b" and found.source == tmp_path / "b.mp4" and len(found.windows) == 1
    assert shares == [pytest.approx(1)] and found.to_dict()["windows"][0]["end"] == pytest.approx(0.8, abs=0.01)
    inferencer.progress = None
    with pytest.raises(BadSampleError, match=r"c\.mp4"):
        next(results)


@pytest.fixture
def camera(monkeypatch):
    """A camera that shows sixty frames, twenty a second, and then no more."""
    class Camera:
        def __init__(self, number):
            self.count = 0

        def isOpened(self):  # noqa: N802
            return True

        def read(self):
            self.count += 1
            return self.count <= 60, np.full((48, 64, 3), self.count, np.uint8)

        def release(self):
            pass

    ticks = iter(range(10**6))
    monkeypatch.setattr("cv2.VideoCapture", Camera)
    monkeypatch.setattr("cv2.getTickFrequency", lambda: 20.0)
    monkeypatch.setattr("cv2.getTickCount", lambda: next(ticks))


def test_a_camera_gives_a_result_for_each_window(inferencer, camera):
    results = inferencer.stream(3)
    first, second = next(results), next(results)
    assert [first.name, second.name] == ["camera3_00000", "camera3_00001"]
    assert first.windows[0].end <= second.windows[0].start
    with pytest.raises(BadSampleError, match="no more frames"):
        list(results)


def test_the_command_watches_a_camera_until_it_ends(weights, camera, clipapps_cli, tmp_path):
    done = clipapps_cli("predict", "ila", "camera:0", "--weights", weights, "--window", "1", "--out", tmp_path)
    assert done.code == 2 and "no more frames" in done.err and "Traceback" not in done.err
    assert len(list(tmp_path.glob("camera0_0000?.json"))) == len(done.out.splitlines()) >= 2


@pytest.mark.parametrize(("words", "said"), [
    (("ila", "camera:0", "camera:1"), "watched alone"), (("denseclip", "camera:0"), "takes files and folders"),
    (("ila", "camera:x"), "no file or folder camera:x")])
def test_cameras_that_cannot_be_watched(clipapps_cli, words, said):
    done = clipapps_cli("predict", *words)
    assert done.code == 2 and said in done.err


@pytest.mark.parametrize(("config", "view"), [("ila_tiny_toyworld", (48, 1.0)), ("ila_tiny_toyworld_videos", (48, 1.0)),
                                              ("ila_vit_b32_8f_k400", (224, 256 / 224))])
def test_videos_are_read_at_the_size_of_the_training(config, view):
    assert view_of(load_config(f"ila/{config}"), build_empty(load_config("ila/ila_tiny_toyworld"))) == view


def test_zero_shot_takes_any_names():
    found = load("ila", clip_weights=None, classes=["a red star", "a house", "rain"])(film(0.5))[0]
    assert found.class_names == ("a red star", "a house", "rain") and found.points is None
    assert found.scores.sum() == pytest.approx(1, abs=1e-5)


def test_other_names_need_a_text_head(weights):
    with pytest.raises(UserError, match="scores the 14 classes"):
        ILAInferencer(weights, classes=["a", "b"])
    with pytest.raises(UserError, match="list of names"):
        ILAInferencer(weights, classes="a, b")


@pytest.mark.parametrize(("options", "error"), [(dict(window=0.0), UserError), (dict(top=0), UserError),
                                                (dict(weights="missing.safetensors"), WeightsError)])
def test_values_out_of_range_are_refused(weights, options, error):
    with pytest.raises(error):
        ILAInferencer(**{"weights": weights, **options})


def test_arrays_of_another_kind_are_refused(inferencer):
    with pytest.raises(UserError, match="uint8"):
        inferencer(np.zeros((4, 48, 64, 3), np.float32))
