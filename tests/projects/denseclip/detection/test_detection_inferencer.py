"""Inference with a detector's weights: boxes in the picture's pixels, files, refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope

from clipapps import load
from clipapps.data.images import write_image
from clipapps.engine.checkpoint import save_weights
from clipapps.engine.config import load_config
from clipapps.errors import UserError
from clipapps.projects.denseclip.detection.inferencer import DetectionInferencer, find_resize
from clipapps.projects.denseclip.detection.masks import decode_mask
from clipapps.projects.denseclip.inferencer import DenseCLIPInferencer
from clipapps.registry import MODELS


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Untrained weights of the tiny Mask R-CNN that finds something everywhere."""
    init_default_scope("clipapps")
    cfg = load_config("denseclip/mask_rcnn_tiny_toyworld", ["model.backbone.weights=None"])
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    torch.nn.init.normal_(model.roi_head.bbox_head.fc_cls.weight, std=0.5)
    file = tmp_path_factory.mktemp("detector") / "best.safetensors"
    save_weights(model.state_dict(), file, {"config": "mask_rcnn_tiny_toyworld"})
    return file


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    file = tmp_path_factory.mktemp("pictures") / "noise.png"
    write_image(file, np.random.default_rng(0).integers(0, 256, (90, 150, 3), np.uint8))
    return file


def test_objects_are_in_the_pictures_pixels_and_in_files(weights, picture, tmp_path):
    result = load("denseclip", weights, device="cpu", min_score=0.1)(str(picture))[0]
    found = result.instances
    assert len(found.labels) and found.scores.min() >= 0.1 and (np.diff(found.scores) <= 0).all()
    assert found.boxes.min() >= 0 and found.boxes[:, 2].max() <= 150 and found.boxes[:, 3].max() <= 90
    assert found.masks.shape == (len(found.labels), 90, 150)
    assert result.plot().shape[0] > 90 and result.plot().shape[1] >= 150

    drawn, facts = result.save(tmp_path)
    assert drawn.name == "noise.png" and drawn.is_file()
    objects = json.loads(facts.read_text())["objects"]
    assert len(objects) == len(found.labels)
    left, top, width, height = objects[0]["bbox"]
    assert [left, top, left + width, top + height] == pytest.approx(found.boxes[0].tolist(), abs=0.02)
    assert objects[0]["category"] == result.class_names[objects[0]["category_id"]]
    for entry, mask in zip(objects, found.masks, strict=True):
        assert np.array_equal(decode_mask(entry["segmentation"], (90, 150)), mask) and entry["area"] == mask.sum()


def test_the_command_line_takes_them(weights, picture, tmp_path, clipapps_cli):
    done = clipapps_cli("predict", "denseclip", picture, "--weights", weights, "--out", tmp_path, "--device", "cpu")
    assert done.code == 0, done.err
    assert (tmp_path / "noise.png").is_file() and (tmp_path / "noise.json").is_file()


def test_a_blank_picture_may_hold_nothing(weights):
    result = DetectionInferencer(weights, min_score=1.1)(np.zeros((40, 40, 3), np.uint8))[0]
    assert len(result.instances.labels) == 0 and result.to_dict()["objects"] == []
    assert result.plot().shape[0] >= 40


def test_other_classes_are_refused(weights):
    with pytest.raises(UserError, match="detector of fixed classes: house, tree"):
        load("denseclip", weights, device="cpu", classes=["zebra"])
    with pytest.raises(UserError, match="unexpected keyword argument 'short_side'"):
        load("denseclip", weights, device="cpu", short_side=3)


def test_without_weights_it_is_the_segmentor():
    assert isinstance(load("denseclip", device="cpu"), DenseCLIPInferencer)


def test_pictures_are_resized_as_in_evaluation():
    init_default_scope("clipapps")
    assert find_resize(load_config("denseclip/retinanet_rn50_1x_coco")).scale == (1333, 800)
    assert find_resize(load_config("denseclip/retinanet_tiny_toyworld")).scale == (512, 128)
