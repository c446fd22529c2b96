"""Loading steps of pipelines."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from clipapps.data import LoadImage, LoadSegmentation
from clipapps.errors import BadSampleError


@pytest.fixture
def sample(tmp_path):
    """Paths of an image (red) and its mask, as a data set's record."""
    Image.new("RGB", (4, 3), (250, 20, 10)).save(tmp_path / "image.png")
    Image.fromarray(np.array([[0, 1, 2, 255]] * 3, np.uint8)).save(tmp_path / "mask.png")
    return dict(img_path=str(tmp_path / "image.png"), seg_map_path=str(tmp_path / "mask.png"), seg_fields=[],
                reduce_zero_label=False, label_map=None)


def test_images_arrive_as_mmcv_expects_them(sample):
    results = LoadImage()(sample)
    assert results["img"][0, 0].tolist() == [10, 20, 250]  # BGR
    assert results["img"].flags.c_contiguous
    assert results["img_shape"] == results["ori_shape"] == (3, 4)


def test_segmentation(sample):
    results = LoadSegmentation(num_classes=3)(LoadImage()(sample))
    assert results["gt_seg_map"][0].tolist() == [0, 1, 2, 255]
    assert results["gt_seg_map"].dtype == np.uint8
    assert results["seg_fields"] == ["gt_seg_map"]


def test_zero_becomes_ignored_and_ids_move_down(sample):
    results = LoadSegmentation(num_classes=2)({**sample, "reduce_zero_label": True})
    assert results["gt_seg_map"][0].tolist() == [255, 0, 1, 255]


def test_ids_are_renumbered_all_at_once(sample):
    results = LoadSegmentation(num_classes=3)({**sample, "label_map": {0: 1, 1: 2, 2: 0}})
    assert results["gt_seg_map"][0].tolist() == [1, 2, 0, 255]


@pytest.mark.parametrize("given", ["argument", "sample"])
def test_ids_outside_the_classes_are_named(sample, given):
    load = LoadSegmentation(num_classes=2 if given == "argument" else None)
    with pytest.raises(BadSampleError, match=r"mask\.png has class ids 2, but ids go from 0 to 1"):
        load({**sample, **({"num_classes": 2} if given == "sample" else {})})


def test_16_bit_ids_are_not_cut_off(sample, tmp_path):
    Image.fromarray(np.full((3, 4), 300, np.uint16)).save(tmp_path / "mask.png")
    with pytest.raises(BadSampleError, match="class ids 300"):
        LoadSegmentation()(sample)


def test_a_mask_of_another_size_is_named(sample, tmp_path):
    Image.fromarray(np.zeros((3, 5), np.uint8)).save(tmp_path / "mask.png")
    with pytest.raises(BadSampleError, match=r"mask\.png is 5 x 3 pixels, but its image .*image\.png is 4 x 3"):
        LoadSegmentation()(LoadImage()(sample))


def test_the_size_is_compared_with_the_file_when_the_image_was_resized_before(sample):
    results = LoadImage()(sample)
    results.update(img=np.zeros((6, 8, 3), np.uint8), img_shape=(6, 8))
    assert LoadSegmentation()(results)["gt_seg_map"].shape == (3, 4)


def test_the_registered_steps_work_by_name_in_an_mmseg_pipeline(sample):
    pytest.importorskip("mmseg")
    from clipapps.registry import TRANSFORMS

    results = sample
    for step in (dict(type="LoadImage"), dict(type="LoadSegmentation"), dict(type="mmseg.datasets.PackSegInputs")):
        results = TRANSFORMS.build(step)(results)
    assert tuple(results["inputs"].shape) == (3, 3, 4)
    assert results["data_samples"].gt_sem_seg.data[0, 0].tolist() == [0, 1, 2, 255]
