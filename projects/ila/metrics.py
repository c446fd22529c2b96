"""Accuracy of video classification."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from clipapps.engine.atomic import write_text
from clipapps.registry import METRICS


@METRICS.register_module()
class ILAAccuracy(BaseMetric):
    """Shares of clips whose class is the best, or among the k best, of their probabilities averaged over views.

    Says how many videos and views a figure is of, so that figures of different protocols are not confused.

    Args:
        topk: the k's; one beyond the number of classes is left out.
        dump: file for one line a video: index, label, and the probabilities, separated by tabs.

    >>> import torch
    >>> metric = ILAAccuracy(topk=(1, 2))
    >>> metric.process(None, [dict(scores=torch.tensor([0.1, 0.2, 0.7]), label=1, sample_idx=0, num_views=12)])
    >>> len(metric.results)
    1
    """

    default_prefix = ""

    def __init__(self, topk: Sequence[int] = (1, 5), dump: str | None = None, collect_device: str = "cpu",
                 prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.topk, self.dump = tuple(topk), dump

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Collect rank and scores of every clip of a batch."""
        for sample in data_samples:
            scores, label = sample["scores"].float().cpu(), sample["label"]
            rank = int((scores > scores[label]).sum())
            self.results.append((sample.get("sample_idx", len(self.results)), label, rank, sample["num_views"],
                                 len(scores), scores.tolist() if self.dump else ()))

    def compute_metrics(self, results: list[tuple[Any, ...]]) -> dict[str, float]:
        """All clips -> "top<k>" as fractions; each video counts once."""
        by_video = {result[0]: result for result in results}
        rows = [by_video[index] for index in sorted(by_video)]
        if self.dump:
            write_text(Path(self.dump), "".join(f"{index}\t{label}\t" + "\t".join(f"{score:.6f}" for score in scores)
                                                + "\n" for index, label, *_, scores in rows))
        views = sorted({row[3] for row in rows})
        print_log(f"accuracy of {len(rows)} videos, {' or '.join(map(str, views))} view(s) each", "current")
        return {f"top{k}": sum(row[2] < k for row in rows) / len(rows) for k in self.topk if k < rows[0][4] or k == 1}
