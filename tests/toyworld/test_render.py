"""Rendering: exact masks, one scene at every size, every value visibly different."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from clipapps.toyworld import (
    BACKGROUNDS,
    CATEGORIES,
    COLORS,
    TEXTURES,
    Scene,
    SceneObject,
    SceneSpec,
    class_names,
    palette,
    render,
    sample_scene,
)
from clipapps.toyworld.vocabulary import COLOR_RGB

CROWDED = SceneSpec(min_objects=1, max_objects=4, depth=0.3)


def one(category: str = "star", background: str = "meadow", lighting: str = "well-lit", **changes: object) -> Scene:
    item = SceneObject(category, "red", "plain", "large", "upright", "middle", 0.5, 0.5, 0.28)
    return Scene(background, lighting, (replace(item, **changes),), detail_seed=5)


def test_rendering_is_deterministic() -> None:
    scene = sample_scene(0, 1, CROWDED)
    first, second = render(scene, 96), render(scene, 96)
    assert np.array_equal(first.image, second.image) and np.array_equal(first.instances, second.instances)


@pytest.mark.parametrize("size", [32, 64, 100, 256])
def test_masks_instances_and_boxes_agree_exactly(size: int) -> None:
    for index in range(12):
        scene = sample_scene(1, index, CROWDED)
        drawn = render(scene, size)
        assert drawn.image.shape == (size, size, 3) and drawn.image.dtype == np.uint8
        assert drawn.instances.max() <= len(scene.objects)
        for k, (item, box) in enumerate(zip(scene.objects, drawn.boxes_px, strict=True), start=1):
            mask = drawn.instances == k
            assert set(np.unique(drawn.semantic[mask])) <= {CATEGORIES.index(item.category) + 1}
            rows, columns = np.nonzero(mask)
            expected = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if len(rows) else (0, 0, 0, 0)
            assert tuple(box) == expected
        assert np.array_equal(drawn.semantic == 0, drawn.instances == 0)


def test_objects_are_visible_where_the_scene_says() -> None:
    hidden = 0
    for index in range(100):
        scene = sample_scene(2, index, SceneSpec(min_objects=4, max_objects=4))
        drawn = render(scene, 128)
        for k, item in enumerate(scene.objects, start=1):
            rows, columns = np.nonzero(drawn.instances == k)
            hidden += len(rows) < 0.25 * np.pi * (item.radius * 128) ** 2 * 0.6
            if len(rows):
                assert abs(columns.mean() / 128 - item.x) < 1.2 * item.radius
                assert abs(rows.mean() / 128 - item.y) < 1.2 * item.radius
    assert hidden <= 8  # of 400: objects keep clear of each other


def test_the_same_scene_at_two_sizes_agrees() -> None:
    for index in range(10):
        scene = sample_scene(3, index, CROWDED)
        small, large = render(scene, 128), render(scene, 512)
        coarse = np.kron(small.instances, np.ones((4, 4), dtype=np.int32))
        for k in range(1, len(scene.objects) + 1):
            a, b = coarse == k, large.instances == k
            if b.sum() > 4000:
                assert (a & b).sum() / (a | b).sum() > 0.85
        shrunk = large.image.reshape(128, 4, 128, 4, 3).mean(axis=(1, 3))
        assert np.abs(shrunk - small.image).mean() < 10  # thin mortar lines are the worst case; others lie below 5


def test_every_category_has_its_own_silhouette() -> None:
    masks = {name: render(one(name), 128).instances == 1 for name in CATEGORIES}
    for name, mask in masks.items():
        assert 0.12 < mask.mean() / (np.pi * 0.28**2) < 1.05, name
        for other, second in masks.items():
            if other != name:
                assert (mask & second).sum() / (mask | second).sum() < 0.8, (name, other)


def test_colors_dominate_plain_objects() -> None:
    for color in COLORS:
        drawn = render(one("heart", color=color), 128)
        seen = drawn.image[drawn.instances == 1].astype(float).mean(axis=0)
        hue = seen / seen.max()
        gaps = {name: np.abs(hue - np.array(rgb) / max(rgb)).sum() for name, rgb in COLOR_RGB.items()}
        assert min(gaps, key=lambda name: gaps[name]) == color


def test_textures_and_backgrounds_differ_clearly() -> None:
    mask = render(one("heart"), 96).instances == 1
    textures = [render(one("heart", texture=t), 96).image[mask].astype(float) for t in TEXTURES]
    backgrounds = [render(Scene(b, "well-lit", (), 1), 64).image.astype(float) for b in BACKGROUNDS]
    for images in (textures, backgrounds):
        for i, first in enumerate(images):
            assert all(np.abs(first - second).mean() > 12 for second in images[i + 1:])


def test_backlight_darkens_the_object_against_a_bright_ground_and_dark_dims_all() -> None:
    mean = {}
    for lighting in ("well-lit", "backlit", "dark"):
        drawn = render(one("cup", "meadow", lighting), 96)
        mask = drawn.instances == 1
        mean[lighting] = (drawn.image[mask].mean(), drawn.image[~mask].mean())
    assert mean["backlit"][0] < 0.5 * mean["well-lit"][0]
    assert mean["backlit"][1] > 0.95 * mean["well-lit"][1]
    assert mean["dark"][0] < 0.5 * mean["well-lit"][0] and mean["dark"][1] < 0.5 * mean["well-lit"][1]


def test_an_object_across_the_border_is_cut_not_refused() -> None:
    drawn = render(one("boat", x=0.02, y=0.99), 64)
    assert (drawn.instances == 1).any() and drawn.boxes_px[0][0] == 0 and drawn.boxes_px[0][3] == 64


@pytest.mark.parametrize(("x", "y"), [(-0.3, 0.5), (1.4, 0.5), (0.5, -0.4), (0.5, 1.3), (-0.5, 1.5)])
def test_an_object_beyond_the_border_leaves_the_picture_as_it_is(x: float, y: float) -> None:
    scene = sample_scene(3, 5)
    gone = replace(scene, objects=(replace(scene.objects[0], x=x, y=y, radius=0.13),))
    assert (render(gone, 128).image == render(replace(scene, objects=()), 128).image).all()


def test_classes_and_palette_match() -> None:
    assert class_names() == ("background", *CATEGORIES)
    assert len(palette()) == 11


def test_class_colors_can_be_told_apart() -> None:
    """Distances in CIELAB; hue and saturation alone tell objects from background, as an overlay changes lightness."""
    lab = cv2.cvtColor(np.float32([palette()]) / 255, cv2.COLOR_RGB2LAB)[0]
    distances = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    assert distances[~np.eye(11, dtype=bool)].min() > 25
    assert np.linalg.norm(lab[1:, 1:] - lab[0, 1:], axis=-1).min() > 20
