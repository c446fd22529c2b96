"""Prediction: a mask of the picture's own size, a legend, facts, and a word about what the model does not know."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from PIL import Image

import clipapps
from clipapps.data.images import write_image
from clipapps.engine.config import load_config
from clipapps.errors import UserError, WeightsError
from clipapps.projects.denseclip.inferencer import DenseCLIPInferencer, SegmentationResult
from clipapps.registry import MODELS
from clipapps.toyworld import ToyWorldSegmentation

TINY = "denseclip_fpn_tiny_toyworld"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """`trained(config)`: weights of an untrained model of that config, as training writes them."""
    from mmengine.registry import init_default_scope

    from clipapps.engine.checkpoint import save_weights

    def make(config: str = TINY):
        init_default_scope("clipapps")
        model = MODELS.build(load_config(f"denseclip/{config}", ["model.backbone.weights=None"]).model)
        path = tmp_path_factory.mktemp("run") / "best.safetensors"
        save_weights(model.state_dict(), path, {"config": config})
        return path

    return make


def scene() -> np.ndarray:
    return np.ascontiguousarray(ToyWorldSegmentation(num_scenes=1, size=128)[0]["img"][:96, :, ::-1])


def load(**options):
    return clipapps.load("denseclip", device="cpu", **{"clip_weights": None, **options})


def test_a_result_is_written_as_picture_facts_and_mask(tmp_path):
    result = load(classes=["star", "tree"])(scene())[0]
    picture, facts, mask = result.save(tmp_path)
    assert [path.name for path in (picture, facts, mask)] == ["image0.png", "image0.json", "image0_mask.png"]
    written = Image.open(mask)
    assert written.size == (128, 96) and written.mode == "P"
    assert np.array_equal(np.asarray(written), result.mask)  # indices, not colors
    content = json.loads(facts.read_text())
    assert sum(entry["share"] for entry in content["classes"]) == pytest.approx(1.0, abs=1e-3)
    assert {entry["name"] for entry in content["classes"]} <= {"star", "tree"}
    shown = np.asarray(Image.open(picture))
    assert shown.shape[0] > 96 and shown.shape[1] >= 128  # the legend stands below


def test_the_mask_is_the_best_score_and_confidence_its_probability():
    scores = load(classes=["star", "tree", "house"])
    result = scores(scene())[0]
    assert result.mask.max() < 3 and result.mask.shape == result.confidence.shape == (96, 128)
    assert (1 / 3 <= result.confidence).all() and (result.confidence <= 1).all()


def test_many_classes_get_a_wider_mask(tmp_path):
    names = tuple(f"class {index}" for index in range(300))
    mask = np.arange(300, dtype=np.uint16).reshape(15, 20)
    result = SegmentationResult("x", np.zeros((15, 20, 3), np.uint8), mask, np.ones((15, 20), np.float32), names,
                                [(1, 2, 3)] * 300)
    assert np.array_equal(np.asarray(Image.open(result.save(tmp_path)[2])), mask)


def test_words_that_the_tiny_clip_never_saw_are_named(caplog):
    with caplog.at_level(logging.WARNING, logger="clipapps"):
        assert load(classes=["zebra", "star"])(scene())[0].to_dict()["unknown_words"] == ["zebra"]
    assert "never saw: zebra" in caplog.text and "ViT-B-16-quickgelu" in caplog.text


def test_trained_weights_bring_their_classes_and_use_the_decoder(trained):
    inferencer = load(weights=trained())
    result = inferencer(scene())[0]
    assert inferencer.class_names[:2] == ("background", "house") and result.method == f"{TINY}, decoder"
    assert result.mask.shape == (96, 128)


def test_other_classes_use_the_score_maps_of_the_trained_model(trained):
    result = load(weights=trained(), classes=["star", "boat"])(scene())[0]
    assert result.method == f"{TINY}, score maps" and result.mask.max() <= 1


def test_a_model_without_language_cannot_take_other_classes(trained):
    path = trained("fpn_tiny_toyworld")
    assert load(weights=path)(scene())[0].method == "fpn_tiny_toyworld, decoder"
    with pytest.raises(UserError, match="no language part, so it only knows the classes it was trained with: backgr"):
        load(weights=path, classes=["star"])


def test_weights_of_another_model_and_of_nowhere_are_refused(trained, tmp_path):
    with pytest.raises(WeightsError, match="missing"):
        load(weights=trained("fpn_tiny_toyworld"), config=f"denseclip/{TINY}")
    stray = tmp_path / "stray.safetensors"
    stray.write_bytes(trained().read_bytes())
    assert load(weights=stray).label == TINY  # its metadata says what it is
    from clipapps.engine.checkpoint import load as read
    from clipapps.engine.checkpoint import save_weights
    save_weights(read(stray), stray)
    with pytest.raises(WeightsError, match="does not say which config it belongs to"):
        load(weights=stray)


@pytest.mark.parametrize("size", [(20, 300), (31, 31), (200, 96)])
def test_any_picture_size(size):
    image = np.zeros((*size, 3), np.uint8)
    assert load(classes=["star", "tree"])(image)[0].mask.shape == size


def test_the_command_writes_overlay_mask_and_facts(clipapps_cli, tmp_path, trained):
    write_image(tmp_path / "photo.jpg", scene())
    result = clipapps_cli("predict", "denseclip", tmp_path / "photo.jpg", "--weights", trained(), "--out",
                          tmp_path / "out", "--device", "cpu", "--classes", "star, tree, road")
    assert result.code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "photo.json", "photo.png", "photo_mask.png", "predictions.jsonl"]
    assert json.loads((tmp_path / "out" / "photo.json").read_text())["unknown_words"] == ["road"]


@pytest.mark.parametrize("classes", ["sky", [], ["sky", " "], ["sky", "sky"]])
def test_class_names_that_name_nothing_are_refused(classes):
    with pytest.raises(UserError, match="`classes`"):
        DenseCLIPInferencer(clip_weights=None, classes=classes)


def test_a_picture_of_any_proportions_stays_within_the_pixel_limit():
    inferencer = DenseCLIPInferencer(clip_weights=None, classes=["star", "cup"])
    result = inferencer(np.zeros((3, 5000, 3), np.uint8))[0]
    assert result.mask.shape == (3, 5000)
    assert inferencer._prepare(np.zeros((1, 3, 5000, 3), np.uint8)).numel() <= 3 * 1.1 * 4_000_000


def test_missing_weights_are_named_first(tmp_path):
    with pytest.raises(WeightsError, match="There is no weights file .*nosuch.pth"):
        DenseCLIPInferencer(tmp_path / "nosuch.pth")
