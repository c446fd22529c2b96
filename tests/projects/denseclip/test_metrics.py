"""IoU figures against counts by hand, in fractions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clipapps.projects.denseclip.metrics import SegmentationIoU

NAMES = ["background", "cat", "dog", "bird"]


def evaluate(pairs, **options) -> dict[str, float]:
    metric = SegmentationIoU(**options)
    metric.dataset_meta = {"classes": NAMES}
    for predicted, truth in pairs:
        metric.process({}, [dict(pred_sem_seg=dict(data=torch.tensor(predicted)[None]),
                                 gt_sem_seg=dict(data=torch.tensor(truth)[None]))])
    return metric.evaluate(len(pairs))


def test_figures_of_two_images_by_hand():
    figures = evaluate([([[0, 0], [1, 1]], [[0, 1], [1, 1]]), ([[0, 2], [2, 0]], [[0, 255], [2, 0]])], background=0)
    # counts over both images, ignored pixel left out: background 3 of 4, cat 2 of 3, dog 1 of 1, bird never
    assert figures["IoU/background"] == pytest.approx(3 / 4)
    assert figures["IoU/cat"] == pytest.approx(2 / 3)
    assert figures["IoU/dog"] == pytest.approx(1.0)
    assert "IoU/bird" not in figures
    assert figures["mIoU"] == pytest.approx(np.mean([3 / 4, 2 / 3, 1.0]))
    assert figures["mIoU_foreground"] == pytest.approx(np.mean([2 / 3, 1.0]))
    assert figures["aAcc"] == pytest.approx(6 / 7)
    assert figures["mIoU_all_background"] == pytest.approx((3 / 7) / 3)


def test_predicting_background_everywhere_scores_what_is_announced():
    truth = np.array([[0, 0, 1], [0, 2, 0]])
    figures = evaluate([(np.zeros_like(truth), truth)], background=0)
    assert figures["mIoU"] == pytest.approx(figures["mIoU_all_background"])
    assert figures["mIoU_foreground"] == 0.0


def test_without_background_class_and_without_classes():
    figures = evaluate([([[1, 1]], [[1, 2]])], per_class=False)
    assert set(figures) == {"mIoU", "aAcc"} and figures["mIoU"] == pytest.approx((1 / 2 + 0) / 2)


def test_everything_ignored_is_zero_and_not_nan():
    assert evaluate([([[1, 1]], [[255, 255]])], background=0)["mIoU"] == 0.0
