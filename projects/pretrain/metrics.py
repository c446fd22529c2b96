"""Zero-shot accuracy per attribute, retrieval, and training-free dense accuracy on toy scenes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from clipapps.registry import METRICS

from .probes import MIN_COUNT


def recall_at(similarity: Tensor, meaning: Tensor, k: int) -> float:
    """Share of rows among whose k best columns one has the row's meaning.

    Args:
        similarity: (N, N), row i against column j; meaning: (N,) integers.

    >>> recall_at(torch.tensor([[0.9, 0.1], [0.8, 0.2]]), torch.tensor([1, 2]), 1)
    0.5
    """
    best = similarity.topk(min(k, similarity.shape[1]), dim=1).indices
    return float((meaning[best] == meaning[:, None]).any(dim=1).float().mean())


def confusion(predicted: Tensor, truth: Tensor, classes: int) -> np.ndarray:
    """(classes, classes) counts, rows are the truth."""
    return torch.bincount(truth.flatten().long() * classes + predicted.flatten().long(), minlength=classes**2) \
        .view(classes, classes).cpu().numpy()


def mean_iou(matrix: np.ndarray, first: int = 0) -> float:
    """Mean intersection over union of the classes from `first` on that occur in truth or prediction."""
    hit = np.diag(matrix).astype(float)
    union = matrix.sum(0) + matrix.sum(1) - hit
    present = (union > 0) & (np.arange(len(hit)) >= first)
    return float((hit[present] / union[present]).mean()) if present.any() else 0.0


@METRICS.register_module()
class ToyZeroShotMetric(BaseMetric):
    """Scores what `ContrastivePretrainer.predict` returns; every value is a fraction 0..1.

    From scenes with one object: `<attribute>_acc` of every probe and its unweighted chance level `<attribute>_chance`;
    `<attribute>_mode` is what the most frequent answer scores. `count_acc` is from scenes of several equal things.
    `image_to_text_r1`, `_r5`, `text_to_image_r1`, `_r5` among all such scenes. From scenes with masks:
    `dense_category_acc` (foreground pixels, the best of the 10 categories; chance 0.1), `dense_mIoU` (11 classes) and
    `all_background_mIoU` (what calling everything background scores).

    Args:
        chance: attribute -> number of values, printed as chance level.
    """

    default_prefix = ""  # names as they are; None would only make mmengine warn

    def __init__(self, chance: dict[str, int] | None = None, collect_device: str = "cpu",
                 prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.chance = dict(chance or {})

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keeps small facts of each sample."""
        for sample in data_samples:
            kept = {key: sample[key] for key in ("sample_idx", "answers", "attributes", "meaning")}
            if sample["attributes"]["count"] == 1:
                kept |= dict(image=sample["image_embed"].cpu(), text=sample["text_embed"].cpu())
            elif "dense" in sample:
                kept |= _dense_counts(sample["dense"], sample["semantic"])
            self.results.append(kept)

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """All figures from the kept facts."""
        single = [r for r in results if r["attributes"]["count"] == 1]
        groups = [r for r in results if r["attributes"]["group"]]
        metrics: dict[str, float] = {}
        for name in results[0]["answers"] if results else ():
            first, asked = (MIN_COUNT, groups) if name == "count" else (0, single)
            if not asked:
                continue
            truth = np.array([r["attributes"][name] for r in asked])
            metrics[f"{name}_acc"] = float(np.mean(truth == first + np.array([r["answers"][name] for r in asked])))
            metrics[f"{name}_mode"] = float(np.bincount(truth + 1).max() / len(truth))
            if name in self.chance:
                metrics[f"{name}_chance"] = 1 / self.chance[name]
        if single:
            metrics |= _retrieval(single)
        dense = [r for r in results if "confusion" in r]
        if dense:
            metrics |= _dense_metrics(dense)
        return metrics


def _dense_counts(scores: Tensor, semantic: Tensor) -> dict[str, Any]:
    """Facts of one mask: scores (11, H, W) with the background first, semantic (H, W)."""
    foreground = semantic > 0
    right = scores[1:].argmax(dim=0) + 1 == semantic
    return dict(confusion=confusion(scores.argmax(dim=0), semantic, len(scores)),
                all_background=confusion(torch.zeros_like(semantic), semantic, len(scores)),
                foreground=int(foreground.sum()), right=int((right & foreground).sum()))


def _retrieval(results: list[dict[str, Any]]) -> dict[str, float]:
    similarity = torch.stack([r["image"] for r in results]) @ torch.stack([r["text"] for r in results]).t()
    meaning = torch.tensor([r["meaning"] for r in results])
    return {f"{name}_r{k}": recall_at(matrix, meaning, k) for k in (1, 5)
            for name, matrix in (("image_to_text", similarity), ("text_to_image", similarity.t()))}


def _dense_metrics(results: list[dict[str, Any]]) -> dict[str, float]:
    matrix, nothing = sum(r["confusion"] for r in results), sum(r["all_background"] for r in results)
    return dict(dense_category_acc=sum(r["right"] for r in results) / max(1, sum(r["foreground"] for r in results)),
                dense_mIoU=mean_iou(matrix), dense_foreground_mIoU=mean_iou(matrix, first=1),
                all_background_mIoU=mean_iou(nothing))
