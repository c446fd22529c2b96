"""Metrics on inputs whose scores are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clipapps.clip.prompts import fill_templates
from clipapps.projects.pretrain.metrics import ToyZeroShotMetric, confusion, mean_iou, recall_at
from clipapps.projects.pretrain.probes import TOY_PROBES
from clipapps.toyworld import ATTRIBUTES, known_words, split_words


def test_recall_counts_any_column_of_the_same_meaning() -> None:
    similarity = torch.tensor([[0.1, 0.9, 0.0], [0.9, 0.1, 0.2], [0.5, 0.4, 0.3]])
    assert recall_at(similarity, torch.tensor([1, 2, 3]), 1) == 0.0
    assert recall_at(similarity, torch.tensor([1, 1, 3]), 1) == pytest.approx(2 / 3)
    assert recall_at(similarity, torch.tensor([1, 2, 3]), 3) == 1.0


def test_confusion_and_iou_by_hand() -> None:
    matrix = confusion(torch.tensor([[0, 1], [1, 1]]), torch.tensor([[0, 0], [1, 1]], dtype=torch.uint8), 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]
    assert mean_iou(matrix) == pytest.approx((1 / 2 + 2 / 3) / 2)  # the third class occurs nowhere
    assert mean_iou(matrix, first=1) == pytest.approx(2 / 3)
    assert mean_iou(np.zeros((2, 2))) == 0.0


def sample(index: int, right: bool, count: int = 1, group: int = 0, answer: int = 0) -> dict:
    embed = torch.eye(4)[index % 4]
    return dict(sample_idx=index, meaning=index % 4, image_embed=embed, text_embed=embed,
                answers=dict(color=2 if right else 3, count=answer),
                attributes=dict(color=2, count=count, group=group))


def test_attribute_accuracy_counts_scenes_of_one_object_only() -> None:
    metric = ToyZeroShotMetric(chance=dict(color=8))
    single = [sample(index, right=index < 3) for index in range(4)]
    metric.process(None, [*single, sample(4, False, count=3)])
    scores = metric.compute_metrics(metric.results)
    assert scores["color_acc"] == 0.75 and scores["color_chance"] == 0.125
    assert scores["color_mode"] == 1.0
    assert "count_acc" not in scores
    assert scores["image_to_text_r1"] == scores["text_to_image_r1"] == 1.0


def test_count_is_asked_of_groups_only_and_its_names_begin_at_two() -> None:
    metric = ToyZeroShotMetric(chance=dict(count=3))
    groups = [sample(0, True, count=3, group=1, answer=1), sample(1, True, count=2, group=1, answer=2)]
    metric.process(None, [sample(2, True), *groups, sample(3, True, count=4, answer=2)])
    scores = metric.compute_metrics(metric.results)
    assert scores["count_acc"] == 0.5 and scores["count_chance"] == pytest.approx(1 / 3)
    assert TOY_PROBES["count"]["names"] == ("two", "three", "four")


def test_dense_scores_of_a_perfect_and_of_a_blind_map() -> None:
    truth = torch.zeros(8, 8, dtype=torch.uint8)
    truth[:4, :4], truth[5:, 5:] = 3, 7
    perfect = torch.nn.functional.one_hot(truth.long(), 11).permute(2, 0, 1).float()
    blind = torch.zeros(11, 8, 8)
    blind[0], blind[3] = 1.0, 0.5
    for scores, category, miou in ((perfect, 1.0, 1.0), (blind, 16 / 25, None)):
        metric = ToyZeroShotMetric()
        metric.process(None, [{**sample(0, True, count=2), "dense": scores, "semantic": truth}])
        got = metric.compute_metrics(metric.results)
        assert got["dense_category_acc"] == pytest.approx(category)
        assert got["all_background_mIoU"] == pytest.approx((39 / 64) / 3)
        assert got["dense_mIoU"] == pytest.approx(miou if miou is not None else got["all_background_mIoU"])


def test_probes_ask_in_the_order_of_the_attributes_with_known_words() -> None:
    for name, probe in TOY_PROBES.items():
        if name == "dense":
            assert probe["names"] == ("background", *ATTRIBUTES["category"])
        elif name != "count":
            assert len(probe["names"]) == len(ATTRIBUTES[name]) - (name == "background")
        texts = [text for group in probe.get("texts", ()) for text in group]
        for text in texts or fill_templates(probe["names"], probe["templates"]):
            assert set(split_words(text)) <= known_words(), text
    assert TOY_PROBES["category"]["names"] == ATTRIBUTES["category"]
    assert TOY_PROBES["color"]["names"] == ATTRIBUTES["color"]
