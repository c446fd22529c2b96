"""Accuracy over videos."""

from __future__ import annotations

import pytest
import torch

from clipapps.projects.ila.metrics import ILAAccuracy


def sample(scores, label, index):
    return dict(scores=torch.tensor(scores), label=label, sample_idx=index, num_views=12)


def test_every_video_counts_once(tmp_path):
    metric = ILAAccuracy(topk=(1, 2, 5), dump=str(tmp_path / "scores.tsv"))
    metric.process(None, [sample([0.5, 0.3, 0.2], 0, 0), sample([0.5, 0.3, 0.2], 1, 1), sample([0.5, 0.3, 0.2], 2, 2)])
    metric.process(None, [sample([0.5, 0.3, 0.2], 0, 0)])  # a shard that was padded brings a video again
    assert metric.compute_metrics(metric.results) == {"top1": pytest.approx(1 / 3), "top2": pytest.approx(2 / 3)}
    lines = (tmp_path / "scores.tsv").read_text().splitlines()
    assert lines[1].split("\t") == ["1", "1", "0.500000", "0.300000", "0.200000"] and len(lines) == 3
