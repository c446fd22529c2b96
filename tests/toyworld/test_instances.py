"""Toy scenes as detection data: boxes and masks are the drawn ones."""

from __future__ import annotations

import numpy as np
import pytest

from clipapps.errors import ConfigError
from clipapps.toyworld import ToyWorldInstances, render
from clipapps.toyworld.instances import run_lengths, write_coco


def decoded(lengths: dict) -> np.ndarray:
    height, width = lengths["size"]
    values = np.repeat(np.arange(len(lengths["counts"])) % 2, lengths["counts"])
    return values.reshape(width, height).T.astype(bool)


def test_masks_are_those_of_the_rendering_and_boxes_are_tight() -> None:
    data = ToyWorldInstances(num_scenes=12, size=64, seed=2)
    for index in range(12):
        sample, scene = data[index], data.scene(index)
        drawn = render(scene, 64)
        together = np.zeros((64, 64), int)
        for item in sample["instances"]:
            mask = decoded(item["mask"])
            rows, columns = mask.nonzero()
            assert item["bbox"] == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert item["area"] == mask.sum() > 0 and not item["is_crowd"]
            assert (drawn.semantic[mask] == item["label"] + 1).all()
            together[mask] += 1
        assert np.array_equal(together == 1, drawn.instances > 0) and together.max() <= 1


@pytest.mark.parametrize("mask", [np.zeros((2, 3)), np.ones((2, 3)), np.eye(3), np.zeros((0, 3))])
def test_run_lengths_begin_with_zeros(mask) -> None:
    lengths = run_lengths(mask)
    assert np.array_equal(decoded(lengths), mask.astype(bool)) and sum(lengths["counts"]) == mask.size
    assert not (mask.size and mask.flat[0]) or lengths["counts"][0] == 0


def test_splits_and_indices_differ_and_repeat() -> None:
    train, val = ToyWorldInstances(4, 32), ToyWorldInstances(4, 32, split="val")
    assert (train[1]["img"] == ToyWorldInstances(4, 32)[1]["img"]).all()
    assert (train[1]["img"] != val[1]["img"]).any() and (train[1]["img"] != train[2]["img"]).any()
    assert train[3]["sample_idx"] == train[3]["img_id"] == 3
    with pytest.raises(IndexError):
        train[4]
    with pytest.raises(ConfigError, match="at least one scene"):
        ToyWorldInstances(0)


def test_written_files_have_ids_with_gaps(tmp_path) -> None:
    import json

    content = json.loads(write_coco(ToyWorldInstances(3, 32), tmp_path).read_text())
    assert [category["id"] for category in content["categories"]] == list(range(10, 101, 10))
    assert len(list((tmp_path / "images").iterdir())) == len(content["images"]) == 3
    for entry in content["annotations"]:
        left, top, width, height = entry["bbox"]
        assert min(left, top) >= 0 and left + width <= 32 and top + height <= 32
