"""What ships answers at once: the toy world's classes by the trained segmentor, other names by CLIP alone."""

from __future__ import annotations

import numpy as np
import pytest

import clipapps
from clipapps.project import get_project
from clipapps.toyworld import ToyWorldSegmentation


@pytest.fixture(scope="module")
def scenes() -> list[tuple[np.ndarray, np.ndarray]]:
    """Pictures (128, 128, 3) and labels of a split that no training and no choice saw."""
    data = ToyWorldSegmentation(num_scenes=30, size=128, split="test", pipeline=[])
    samples = [data[index] for index in range(len(data))]
    return [(np.ascontiguousarray(sample["img"][..., ::-1]), sample["gt_seg_map"]) for sample in samples]


def foreground_iou(inferencer, scenes) -> float:
    """Mean IoU of the ten categories."""
    results = inferencer([image for image, _ in scenes])
    found, truth = np.stack([r.mask for r in results]), np.stack([mask for _, mask in scenes])
    return float(np.mean([((found == k) & (truth == k)).sum() / ((found == k) | (truth == k)).sum()
                          for k in range(1, 11)]))


def test_the_shipped_segmentor_is_well_ahead_of_clip_alone(scenes) -> None:
    trained = clipapps.load("denseclip", batch_size=10)
    assert trained.method == "denseclip_fpn_tiny_toyworld, decoder"
    alone = clipapps.load("denseclip", classes=trained.class_names, batch_size=10)
    assert alone.method == "CLIP tiny-rn, score maps"
    ahead = foreground_iou(trained, scenes)
    assert ahead > 0.65 and ahead > foreground_iou(alone, scenes) + 0.2


def test_the_shipped_detector_finds_the_objects() -> None:
    """Box and mask average precision at least half of what was measured (70 and 68 on test scenes)."""
    from clipapps.projects.denseclip.detection.inferencer import DetectionResult
    from clipapps.toyworld import SceneSpec, render, sample_scene

    detect = clipapps.load("denseclip", "denseclip_mask_rcnn_tiny_toyworld", batch_size=8)
    scenes = [sample_scene(77, index, SceneSpec(min_objects=1, max_objects=3)) for index in range(16)]
    drawn = [render(scene, 128) for scene in scenes]
    right, wanted = 0, 0
    for result, scene, picture in zip(detect([d.image for d in drawn]), scenes, drawn, strict=True):
        assert isinstance(result, DetectionResult) and result.instances.masks is not None
        for number, item in enumerate(scene.objects, start=1):
            truth = picture.instances == number
            overlaps = [(mask & truth).sum() / (mask | truth).sum() for mask, label in
                        zip(result.instances.masks.astype(bool), result.instances.labels, strict=True)
                        if result.class_names[label] == item.category]
            right, wanted = right + (max(overlaps, default=0) > 0.5), wanted + 1
    assert right / wanted > 0.8


def test_a_batch_gives_what_single_pictures_give(scenes) -> None:
    pictures = [image for image, _ in scenes[:3]]
    singly, at_once = clipapps.load("denseclip")(pictures), clipapps.load("denseclip", batch_size=3)(pictures)
    for one, other in zip(singly, at_once, strict=True):
        assert np.allclose(one.confidence, other.confidence, atol=1e-4) and (one.mask == other.mask).mean() > 0.999


def test_the_files_are_small() -> None:
    project = get_project("denseclip")
    assert sum(project.shipped_weights(name).stat().st_size for name in project.weights) <= 4_000_000
