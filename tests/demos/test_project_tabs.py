"""What the tabs of projects make of results."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("gradio", reason="the demo needs gradio")

PALETTE = [(10, 20, 30), (40, 50, 60), (70, 80, 90)]


def test_classes_are_layers_with_their_shares_and_the_background_is_last() -> None:
    from clipapps.projects.denseclip.demo import class_layers
    from clipapps.projects.denseclip.inferencer import SegmentationResult

    mask = np.zeros((10, 10), np.uint8)
    mask[:2], mask[2:3] = 1, 2
    result = SegmentationResult("a", np.zeros((10, 10, 3), np.uint8), mask, np.ones((10, 10), np.float32),
                                ("background", "cup", "star"), PALETTE)
    layers = class_layers(result)
    assert [(layer.name, layer.note, layer.color) for layer in layers] == [
        ("cup", "20%", PALETTE[1]), ("star", "10%", PALETTE[2]), ("background", "70%", PALETTE[0])]
    assert [int(layer.mask.sum()) for layer in layers] == [20, 10, 70]


@pytest.mark.parametrize("with_masks", [True, False])
def test_objects_of_one_class_are_one_layer_with_boxes_and_scores(with_masks) -> None:
    from clipapps.projects.denseclip.demo import object_layers
    from clipapps.projects.denseclip.detection.inferencer import DetectionResult
    from clipapps.visualization.instances import Instances

    masks = np.zeros((3, 8, 8), bool)
    masks[0, :2], masks[1, 4:6], masks[2, :, 7] = True, True, True
    boxes = np.array([[0, 0, 8, 2], [0, 4, 8, 6], [7, 0, 8, 8]], np.float32)
    found = Instances(boxes, np.array([1, 1, 2]), np.array([0.9, 0.5, 0.75]), masks if with_masks else None)
    image = np.zeros((8, 8, 3), np.uint8)
    cups, star = object_layers(DetectionResult("a", image, found, ("x", "cup", "star"), PALETTE))
    assert (cups.name, cups.note, cups.color) == ("cup", "2", PALETTE[1]) and (star.name, star.note) == ("star", "1")
    assert cups.boxes == [(0, 0, 8, 2, "cup 0.90"), (0, 4, 8, 6, "cup 0.50")]
    assert (int(cups.mask.sum()) == 32) if with_masks else cups.mask is None


def test_a_detector_answers_with_boxes(tmp_path, monkeypatch) -> None:
    from clipapps.projects.denseclip import demo
    from clipapps.projects.denseclip.detection.inferencer import DetectionResult
    from clipapps.visualization.instances import Instances

    found = Instances(np.array([[1, 2, 5, 6]], np.float32), np.array([0]), np.array([0.8]))
    image = np.zeros((8, 8, 3), np.uint8)
    monkeypatch.setattr(demo, "segment", lambda *_: DetectionResult("a", image, found, ("cup",), PALETTE, "a detector"))
    view, note, archive, facts = demo.answer(image, [], "a detector", tmp_path)
    assert "cup 0.80" in view and note.startswith("a detector") and facts["objects"][0]["bbox"] == [1, 2, 4, 4]


def test_a_film_of_one_window_has_no_timeline() -> None:
    from clipapps.projects.ila.demo import timeline
    from clipapps.projects.ila.inferencer import Recognized, VideoResult
    from clipapps.projects.ila.windows import Window

    frames = np.zeros((2, 8, 8, 3), np.uint8)
    windows = [Recognized(0, 2, np.array([0.25, 0.75])), Recognized(2, 3, np.array([0.5, 0.5]))]
    result = VideoResult("a", frames[0], windows, ("cup", "star"), Window(0, 2, frames, (0, 1)))
    shown = timeline(result)
    assert shown.index("star") < shown.index("cup") and "0-2 s" in shown and "2-3 s" in shown and "75 %" in shown
    result.windows = windows[:1]
    assert timeline(result) == ""
