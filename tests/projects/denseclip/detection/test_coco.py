"""Data in COCO's format: ids with gaps, crowds, empty pictures, cut boxes, and files that are none."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from mmengine.dataset import Compose

from clipapps.data import LoadImage
from clipapps.data.images import write_image
from clipapps.errors import BadSampleError, DataError
from clipapps.projects.denseclip.class_names import COCO
from clipapps.projects.denseclip.detection.coco import CocoDetection, CocoInstances
from clipapps.projects.denseclip.detection.transforms import (
    FlipInstances,
    LoadInstances,
    PackDetection,
    ResizeInstances,
)
from clipapps.toyworld import ToyWorldInstances
from clipapps.toyworld.instances import write_coco

SQUARE = [[10, 10, 30, 10, 30, 30, 10, 30]]


def entry(image, category, box, **more):
    return dict(image_id=image, category_id=category, bbox=box, area=box[2] * box[3], iscrowd=0, segmentation=SQUARE,
                **more)


@pytest.fixture
def content():
    images = [dict(id=number, file_name=f"{number}.png", height=48, width=64) for number in (7, 3, 5, 9)]
    annotations = [entry(3, 20, [10, 10, 20, 20]), entry(3, 40, [-5, 40, 20, 20]), entry(3, 20, [30, 30, 0.4, 20]),
                   entry(5, 30, [0, 0, 9, 9]) | dict(iscrowd=1), entry(7, 10, [1, 2, 3, 4])]
    categories = [dict(id=40, name="tree"), dict(id=20, name="bus"), dict(id=30, name="cat"), dict(id=10, name="other")]
    return dict(images=images, annotations=annotations, categories=categories)


@pytest.fixture
def folder(tmp_path, content):
    for image in content["images"]:
        pixels = np.random.default_rng(image["id"]).integers(0, 256, (48, 64, 3), np.uint8)
        write_image(tmp_path / image["file_name"], pixels)
    (tmp_path / "instances.json").write_text(json.dumps(content))
    return tmp_path


def open_data(folder, classes=("bus", "cat", "tree"), **options):
    return CocoInstances(ann_file="instances.json", data_root=str(folder), data_prefix=dict(img_path=""),
                         metainfo=dict(classes=classes) if classes else None, **options)


def test_training_sees_pictures_with_objects_of_its_classes(folder):
    data = open_data(folder)
    # 5 has a crowd alone, 7 objects of other classes, 9 nothing.
    assert [data[index]["img_id"] for index in range(len(data))] == [3]
    objects = data[0]["instances"]
    assert [(item["label"], item["bbox"]) for item in objects] == [(0, [10, 10, 30, 30]), (2, [0, 40, 15, 48])]
    assert len(open_data(folder, keep_empty=True)) == 4


def test_evaluation_sees_everything_as_it_is(folder):
    data = open_data(folder, test_mode=True)
    assert [data[index]["img_id"] for index in range(len(data))] == [3, 5, 7, 9]
    assert [item["bbox"] for item in data[0]["instances"]] == [[10, 10, 30, 30], [-5, 40, 15, 60], [30, 30, 30.4, 50]]
    assert data[1]["instances"][0]["is_crowd"] and data[3]["instances"] == []
    assert [data[index]["sample_idx"] for index in range(4)] == [0, 1, 2, 3]


def test_without_names_the_file_decides(folder):
    assert open_data(folder, None).metainfo["classes"] == ("other", "bus", "cat", "tree")


def test_coco_has_its_names():
    assert len(COCO) == 80 and (COCO[0], COCO[10], COCO[79]) == ("person", "fire hydrant", "toothbrush")
    assert CocoDetection.METAINFO["classes"] == COCO


@pytest.mark.parametrize(("change", "message"), [
    (lambda c: c.pop("annotations"), "has no list 'annotations'"),
    (lambda c: c["annotations"][1].pop("bbox"), "entry 1 of 'annotations' has no 'bbox'"),
    (lambda c: c["categories"].pop(0), "has no category 'tree'"),
    (lambda c: c["images"].clear(), "lists no picture"),
    (lambda c: c["images"][0].update(file_name="gone.png"), "gone.png, named in .* does not exist"),
    (lambda c: c["annotations"].clear(), "no picture with an object"),
])
def test_wrong_files_are_named_with_the_reason(folder, content, change, message):
    change(content)
    (folder / "instances.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        open_data(folder)


def test_missing_and_foreign_files(folder):
    (folder / "instances.json").write_text("no json")
    with pytest.raises(DataError, match="no JSON file"):
        open_data(folder)
    (folder / "instances.json").unlink()
    with pytest.raises(DataError, match="does not exist.*data_root="):
        open_data(folder)


def pipeline(*steps):
    return Compose([dict(type=LoadImage), dict(type=LoadInstances), *steps, dict(type=PackDetection)])


def test_boxes_and_masks_follow_the_picture(folder):
    steps = [dict(type=ResizeInstances, scale=(128, 96), keep_ratio=True), dict(type=FlipInstances, prob=1.0)]
    sample = open_data(folder, pipeline=[dict(type=LoadImage), dict(type=LoadInstances), *steps,
                                         dict(type=PackDetection)])[0]["data_samples"]
    truth = sample.gt_instances
    assert truth.bboxes.dtype == torch.float32 and truth.labels.dtype == torch.int64
    assert sample.img_shape == (96, 128) and sample.scale_factor == (2.0, 2.0) and sample.flip
    assert truth.bboxes[0].tolist() == [128 - 60, 20, 128 - 20, 60]
    rows, columns = truth.masks[0].nonzero().T
    assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == truth.bboxes[0].tolist()


def test_a_picture_of_another_size_than_stated_is_one_bad_sample(folder, content):
    content["images"][1]["height"] = 50
    (folder / "instances.json").write_text(json.dumps(content))
    data = open_data(folder, pipeline=[dict(type=LoadImage), dict(type=LoadInstances), dict(type=PackDetection)])
    with pytest.raises(BadSampleError, match="64 x 48 pixels; its annotations were made for 64 x 50"):
        data.prepare_data(0)


def test_an_object_without_a_mask_is_named_when_masks_are_learned(folder, content):
    content["annotations"][0]["segmentation"] = []
    (folder / "instances.json").write_text(json.dumps(content))
    load = [dict(type=LoadImage), dict(type=LoadInstances), dict(type=PackDetection)]
    with pytest.raises(BadSampleError, match="3.png: an object has no segmentation"):
        open_data(folder, pipeline=load).prepare_data(0)
    load[1]["with_masks"] = False
    assert len(open_data(folder, pipeline=load).prepare_data(0)["data_samples"].gt_instances) == 2


def test_the_toy_world_survives_the_way_through_files(tmp_path):
    drawn = ToyWorldInstances(num_scenes=5, size=64)
    write_coco(drawn, tmp_path)
    data = CocoInstances(ann_file="instances.json", data_root=str(tmp_path), data_prefix=dict(img_path="images"),
                         test_mode=True)
    assert data.metainfo["classes"] == drawn.metainfo["classes"] and len(data) == 5
    own, read = Compose([LoadInstances(), PackDetection()]), pipeline()
    for index in range(5):
        expected, found = own(drawn.get_data_info(index)), read(data.get_data_info(index))
        assert (expected["inputs"] == found["inputs"]).all()
        for part in ("bboxes", "labels", "masks"):
            assert (expected["data_samples"].gt_instances[part] == found["data_samples"].gt_instances[part]).all(), part
