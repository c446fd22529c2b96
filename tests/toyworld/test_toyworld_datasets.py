"""Datasets: the same samples whatever the workers, curricula, and what mmsegmentation's transforms expect."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.dataset import default_collate
from torch.utils.data import DataLoader

from clipapps.errors import ConfigError
from clipapps.registry import DATASETS
from clipapps.toyworld import ATTRIBUTES, ToyWorldScenes, ToyWorldSegmentation, render
from clipapps.toyworld.datasets import split_seed


def read(workers: int) -> list[dict]:
    dataset = ToyWorldScenes(num_scenes=12, size=64, seed=3, spec=dict(max_objects=3), with_masks=True)
    loader = DataLoader(dataset, batch_size=4, num_workers=workers, collate_fn=default_collate)
    return list(loader)


def test_samples_do_not_depend_on_the_workers() -> None:
    alone = read(0)
    for workers in (1, 2):
        for expected, batch in zip(alone, read(workers), strict=True):
            assert expected["caption"] == batch["caption"]
            for key in ("inputs", "semantic", "meaning", "sample_idx"):
                assert torch.equal(expected[key], batch[key]), key


def test_attributes_name_the_nearest_object() -> None:
    dataset = ToyWorldScenes(num_scenes=30, spec=dict(max_objects=2))
    for index in range(30):
        scene, attributes = dataset.scene(index), dataset[index]["attributes"]
        assert ATTRIBUTES["category"][attributes["category"]] == scene.objects[-1].category
        assert ATTRIBUTES["background"][attributes["background"]] == scene.background
        assert attributes["count"] == len(scene.objects)


def test_splits_and_seeds_share_no_scene() -> None:
    seeds = [split_seed(seed, split) for seed in range(5) for split in ("train", "val", "test")]
    assert len(set(seeds)) == len(seeds)
    scenes = {split: {ToyWorldScenes(num_scenes=50, split=split).scene(i) for i in range(50)}
              for split in ("train", "val", "test")}
    assert not scenes["train"] & scenes["val"] and not scenes["val"] & scenes["test"]


def test_stages_follow_one_another() -> None:
    dataset = ToyWorldScenes(stages=[dict(num_scenes=3, size=32, spec=dict(backgrounds=["plain"])),
                                     dict(num_scenes=2, size=64, spec=dict(min_objects=4, max_objects=4))])
    assert len(dataset) == 5
    assert [dataset[i]["inputs"].shape[-1] for i in range(5)] == [32, 32, 32, 64, 64]
    assert [dataset[i]["attributes"]["count"] for i in range(5)] == [1, 1, 1, 4, 4]
    assert [dataset.scene(i).background == "plain" for i in range(5)] == [True, True, True, False, False]
    with pytest.raises(IndexError):
        dataset[5]


@pytest.mark.parametrize("bad", [dict(), dict(num_scenes=1, stages=[]), dict(num_scenes=1, split="dev"),
                                 dict(stages=[dict(num_scenes=2, sized=3)]), dict(stages=["dict()"]),
                                 dict(num_scenes=0)])
def test_wrong_arguments_are_refused(bad: dict) -> None:
    with pytest.raises(ConfigError):
        ToyWorldScenes(**bad)


def test_segmentation_samples_are_what_the_renderer_drew() -> None:
    dataset = DATASETS.build(dict(type="ToyWorldSegmentation", num_scenes=4, size=96, seed=1, split="val"))
    assert dataset.metainfo["classes"][0] == "background" and len(dataset.metainfo["palette"]) == 11
    sample, drawn = dataset[2], render(dataset.scene(2), 96)
    assert np.array_equal(sample["img"][..., ::-1], drawn.image)
    assert np.array_equal(sample["gt_seg_map"], drawn.semantic)
    assert sample["img_shape"] == sample["ori_shape"] == (96, 96) and sample["sample_idx"] == 2
    assert sample["seg_fields"] == ["gt_seg_map"]


def test_segmentation_runs_its_pipeline() -> None:
    def flip(results: dict) -> dict:
        return {**results, "img": results["img"][:, ::-1], "gt_seg_map": results["gt_seg_map"][:, ::-1]}

    plain, flipped = (ToyWorldSegmentation(num_scenes=1, size=64, pipeline=p) for p in ((), (flip,)))
    assert np.array_equal(plain[0]["gt_seg_map"], flipped[0]["gt_seg_map"][:, ::-1])


def test_segmentation_feeds_mmsegmentation() -> None:
    transforms = pytest.importorskip("mmseg.datasets.transforms")
    dataset = ToyWorldSegmentation(num_scenes=2, size=64, pipeline=[dict(type=transforms.PackSegInputs)])
    packed = dataset[1]
    assert packed["inputs"].shape == (3, 64, 64) and packed["inputs"].dtype == torch.uint8
    assert packed["data_samples"].gt_sem_seg.data.shape == (1, 64, 64)
    assert packed["data_samples"].metainfo["img_shape"] == (64, 64)
