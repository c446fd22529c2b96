"""Folder datasets: what they read, and what they say when something is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clipapps.data.images import write_image
from clipapps.errors import BadSampleError, DataError
from clipapps.projects.denseclip.class_names import ADE20K, CAMVID, CAMVID_PALETTE
from clipapps.projects.denseclip.datasets import ADE20KFolder, CamVidFolder, SegmentationFolder

PREFIX = dict(img_path="images/train", seg_map_path="annotations/train")


def loaders():
    from clipapps.data import LoadImage, LoadSegmentation

    return [dict(type=LoadImage), dict(type=LoadSegmentation)]


def write_pair(root: Path, name: str, ids: np.ndarray, split: str = "train", suffix: str = ".jpg") -> None:
    image, label = root / "images" / split / f"{name}{suffix}", root / "annotations" / split / f"{name}.png"
    for file in (image, label):
        file.parent.mkdir(parents=True, exist_ok=True)
    write_image(image, np.full((*ids.shape, 3), 100, np.uint8))
    write_image(label, ids.astype(np.uint8))


def test_pairs_are_sorted_and_carry_a_stable_index(tmp_path):
    for name, suffix in (("b", ".png"), ("a", ".jpg"), ("sub/c", ".JPG")):
        write_pair(tmp_path, name, np.array([[0, 1], [1, 255]]), suffix=suffix)
    dataset = SegmentationFolder(data_root=str(tmp_path), data_prefix=PREFIX, metainfo=dict(classes=["x", "y"]),
                                 pipeline=loaders())
    samples = [dataset[index] for index in range(len(dataset))]
    assert [Path(sample["img_path"]).stem for sample in samples] == ["a", "b", "c"]
    assert [sample["sample_idx"] for sample in samples] == [0, 1, 2]
    assert samples[0]["gt_seg_map"].tolist() == [[0, 1], [1, 255]] and samples[0]["img"].shape == (2, 2, 3)
    assert len(dataset.metainfo["palette"]) == 2


def test_ade20k_moves_labels_down_by_one(tmp_path):
    write_pair(tmp_path, "a", np.array([[0, 1], [150, 7]]))
    dataset = ADE20KFolder(data_root=str(tmp_path), data_prefix=PREFIX, pipeline=loaders())
    assert dataset[0]["gt_seg_map"].tolist() == [[255, 0], [149, 6]]


def test_a_subset_of_classes_renumbers_and_ignores_the_rest(tmp_path):
    write_pair(tmp_path, "a", np.array([[0, 3], [5, 255]]))
    dataset = CamVidFolder(data_root=str(tmp_path), data_prefix=PREFIX, metainfo=dict(classes=["tree", "sky"]),
                           pipeline=loaders())
    assert dataset[0]["gt_seg_map"].tolist() == [[1, 255], [0, 255]]


def test_class_lists_are_complete_and_fit_the_published_names():
    from clipapps.projects.denseclip.mmseg_parts import ADE20KDataset

    assert ADE20K == tuple(name.strip() for name in ADE20KDataset.METAINFO["classes"]) and len(ADE20K) == 150
    assert len(ADE20KFolder.METAINFO["palette"]) == 150
    assert len(CAMVID) == len(CAMVID_PALETTE) == len(set(CAMVID_PALETTE)) == 11


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=f"{tmp_path}/images/train does not exist.*data_root=.*on the command line"):
        CamVidFolder(data_root=str(tmp_path), data_prefix=PREFIX)


def test_an_empty_folder_is_named(tmp_path):
    (tmp_path / "images" / "train").mkdir(parents=True)
    (tmp_path / "images" / "train" / "notes.txt").write_text("no image")
    with pytest.raises(DataError, match=r"holds no image \(\.jpg, "):
        CamVidFolder(data_root=str(tmp_path), data_prefix=PREFIX)


def test_images_without_labels_are_counted_and_the_first_is_named(tmp_path):
    for name in "abc":
        write_pair(tmp_path, name, np.zeros((2, 2)))
    for name in "bc":
        (tmp_path / "annotations" / "train" / f"{name}.png").unlink()
    with pytest.raises(DataError, match=r"2 of 3 images have no label map, the first is .*b\.jpg: expected .*b\.png"):
        CamVidFolder(data_root=str(tmp_path), data_prefix=PREFIX)


def test_a_label_outside_the_classes_is_named(tmp_path):
    write_pair(tmp_path, "a", np.array([[0, 11], [10, 255]]))
    dataset = CamVidFolder(data_root=str(tmp_path), data_prefix=PREFIX, pipeline=loaders())
    with pytest.raises(BadSampleError, match=r"a\.png has class ids 11, but ids go from 0 to 10"):
        dataset[0]


def test_an_image_that_does_not_decode_is_named(tmp_path):
    write_pair(tmp_path, "a", np.zeros((2, 2)))
    (tmp_path / "images" / "train" / "a.jpg").write_bytes(b"no picture")
    dataset = CamVidFolder(data_root=str(tmp_path), data_prefix=PREFIX, pipeline=loaders())
    with pytest.raises(BadSampleError, match=r"a\.jpg"):
        dataset[0]


def test_the_shared_part_of_camvid_is_read(shared):
    root = shared / "data" / "denseclip" / "camvid_small"
    if not root.is_dir():
        pytest.skip(f"there is no {root}")
    dataset = CamVidFolder(data_root=str(root), data_prefix=PREFIX, pipeline=loaders())
    sample = dataset[0]
    assert len(dataset) == 90 and sample["img"].shape == (360, 480, 3) and sample["gt_seg_map"].shape == (360, 480)
