"""AP: 1.0 for the truth itself, known figures for known mistakes, crowds, empty images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import InstanceData

from clipapps.errors import ConfigError
from clipapps.projects.denseclip.detection.masks import decode_mask
from clipapps.projects.denseclip.detection.metrics import CocoAveragePrecision
from clipapps.projects.denseclip.detection.samples import DetectionSample
from clipapps.toyworld import ToyWorldInstances


def toy_samples(count=6, size=96):
    data = ToyWorldInstances(num_scenes=count, size=size, spec=dict(min_objects=0, empty=0.2))
    infos = [data.get_data_info(index) for index in range(count)]
    assert any(not info["instances"] for info in infos) and any(len(info["instances"]) > 1 for info in infos)
    return [answer(info, info["instances"]) for info in infos], data.metainfo


def answer(info, objects, scores=None):
    """A sample whose prediction is this list of annotations."""
    sample = DetectionSample(metainfo={key: info[key] for key in ("img_id", "ori_shape", "instances")})
    size = info["ori_shape"]
    masks = [decode_mask(item["mask"], size) for item in objects]
    sample.pred_instances = InstanceData(
        bboxes=torch.tensor([item["bbox"] for item in objects], dtype=torch.float32).reshape(-1, 4),
        scores=torch.tensor(scores if scores is not None else [0.9] * len(objects), dtype=torch.float32),
        labels=torch.tensor([item["label"] for item in objects], dtype=torch.long),
        masks=torch.from_numpy(np.stack(masks) if masks else np.zeros((0, *size), np.uint8)).bool())
    return sample


def evaluate(samples, metainfo, **options):
    evaluator = Evaluator(CocoAveragePrecision(**options))
    evaluator.dataset_meta = metainfo
    evaluator.process(samples)
    return evaluator.evaluate(len(samples))


def test_the_truth_scores_one():
    samples, metainfo = toy_samples()
    figures = evaluate(samples, metainfo, kinds=("box", "mask"), per_class=True)
    assert all(value == pytest.approx(1.0) for value in figures.values())
    assert {"box_AP", "box_AP50", "mask_AP", "mask_AP75"} <= set(figures) and next(iter(figures)) == "box_AP"


def test_a_wrong_class_a_shifted_box_and_a_false_alarm_cost_what_they_should():
    samples, metainfo = toy_samples()
    for sample in samples:
        sample.pred_instances.labels = (sample.pred_instances.labels + 1) % 10
    assert evaluate(samples, metainfo)["box_AP"] < 0.2

    item = dict(bbox=[10.0, 10, 50, 50], label=0, area=1600, is_crowd=False,
                mask=[[10, 10, 50, 10, 50, 50, 10, 50]])
    info = dict(img_id=0, ori_shape=(96, 96), instances=[item])
    shifted = dict(item, bbox=[14.0, 10, 54, 50])  # IoU 36 / 44 = 0.818: seven of ten thresholds
    assert evaluate([answer(info, [shifted])], metainfo)["box_AP"] == pytest.approx(0.7)
    alarm = dict(item, bbox=[60.0, 60, 90, 90])
    better_alarm = evaluate([answer(info, [item, alarm], [0.5, 0.9])], metainfo)
    assert better_alarm["box_AP"] == pytest.approx(0.5)


def test_a_detection_on_a_crowd_does_not_count():
    _, metainfo = toy_samples()
    item = dict(bbox=[10.0, 10, 30, 30], label=0, area=400, is_crowd=False, mask=[[10, 10, 30, 10, 30, 30, 10, 30]])
    crowd = dict(bbox=[40.0, 40, 90, 90], label=0, area=2500, is_crowd=True, mask=[[40, 40, 90, 40, 90, 90, 40, 90]])
    info = dict(img_id=0, ori_shape=(96, 96), instances=[item, crowd])
    inside = dict(item, bbox=[50.0, 50, 60, 60], mask=[[50, 50, 60, 50, 60, 60, 50, 60]])
    figures = evaluate([answer(info, [item, inside], [0.5, 0.9])], metainfo, kinds=("box", "mask"))
    assert figures["box_AP"] == pytest.approx(1.0) and figures["mask_AP"] == pytest.approx(1.0)


def test_sizes_of_masks_are_their_own_and_not_their_boxes():
    """A thin diagonal in a large box is a small object where masks are judged."""
    _, metainfo = toy_samples()
    diagonal = [[0, 0, 3, 0, 90, 87, 90, 90, 87, 90, 0, 3]]
    line = dict(bbox=[0.0, 0, 90, 90], label=0, area=250, is_crowd=False, mask=diagonal)
    info = dict(img_id=0, ori_shape=(96, 96), instances=[line])
    figures = evaluate([answer(info, [line])], metainfo, kinds=("mask",))
    assert figures["mask_AP_small"] == pytest.approx(1.0) and "mask_AP_large" not in figures


def test_no_detection_at_all_scores_zero():
    samples, metainfo = toy_samples()
    nothing = [answer(dict(sample.metainfo), []) for sample in samples]
    assert evaluate(nothing, metainfo, kinds=("box", "mask"))["mask_AP"] == 0.0


def test_an_unknown_kind_is_refused():
    with pytest.raises(ConfigError, match="no average precision of 'boxes'.*Did you mean 'box'"):
        CocoAveragePrecision(kinds=("boxes",))
