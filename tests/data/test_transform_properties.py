"""Image and mask stay together, for random sizes from 1 to 257: the image shows each pixel's class as its color."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from clipapps.data import LoadImage, LoadSegmentation

SIZES = st.integers(1, 257)
FAST, SLOW = 60, 500
COLORS = np.random.default_rng(1).permutation(256).astype(np.uint8)  # class id -> red
CHECKS = dict(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])


def both_tiers(test):
    """The same property with a few examples, and as a slow test with many."""
    return pytest.mark.parametrize("examples", [FAST, pytest.param(SLOW, marks=pytest.mark.slow)])(test)


def written(folder: Path, height: int, width: int, classes: int, seed: int) -> tuple[dict, np.ndarray]:
    """A sample's paths, and its class ids: random, with some ignored."""
    generator = np.random.default_rng(seed)
    ids = generator.integers(0, classes, (height, width)).astype(np.uint8)
    ids[generator.random((height, width)) < 0.1] = 255
    Image.fromarray(ids).save(folder / "mask.png")
    Image.fromarray(np.stack([COLORS[ids]] * 3, axis=-1)).save(folder / "image.png")
    return dict(img_path=str(folder / "image.png"), seg_map_path=str(folder / "mask.png"), seg_fields=[],
                num_classes=classes), ids


def loaded(sample: dict) -> dict:
    return LoadSegmentation()(LoadImage()(sample))


@both_tiers
def test_loading(tmp_path, examples):
    @settings(max_examples=examples, **CHECKS)
    @given(SIZES, SIZES, st.integers(2, 250), st.integers(0, 9), st.booleans())
    def check(height, width, classes, seed, reduces):
        sample, ids = written(tmp_path, height, width, classes, seed)
        results = loaded({**sample, "reduce_zero_label": reduces})
        assert results["img"].shape == (height, width, 3)
        assert np.array_equal(results["img"][..., 2], COLORS[ids])
        expected = [[255 if i in (0, 255) else i - 1 for i in row] for row in ids.tolist()] if reduces else ids
        assert np.array_equal(results["gt_seg_map"], np.array(expected).reshape(height, width))

    check()


@both_tiers
@pytest.mark.parametrize("step", [
    dict(type="mmcv.transforms.RandomFlip", prob=1.0), dict(type="mmcv.transforms.RandomFlip", prob=0.5),
    dict(type="mmseg.datasets.RandomCrop", crop_size=(32, 48), cat_max_ratio=0.75),
    dict(type="mmcv.transforms.Pad", size=(257, 300), pad_val=dict(img=int(COLORS[255]), seg=255)),
    dict(type="mmcv.transforms.Resize", scale=(64, 40), interpolation="nearest")],
    ids=["flip", "maybe flip", "crop", "pad", "resize"])
def test_what_pipelines_do_after_it(tmp_path, examples, step):
    pytest.importorskip("mmseg")
    from clipapps.registry import TRANSFORMS

    transform = TRANSFORMS.build(step)

    @settings(max_examples=examples, **CHECKS)
    @given(SIZES, SIZES, st.integers(0, 9))
    def check(height, width, seed):
        results = transform(loaded(written(tmp_path, height, width, 150, seed)[0]))
        image, ids = results["img"], results["gt_seg_map"]
        assert image.shape[:2] == ids.shape == tuple(results["img_shape"][:2])
        assert np.array_equal(image[..., 0], COLORS[ids])

    check()
