"""Intersection over union as fractions, with the figures that tell a working model from a trivial one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clipapps.errors import ConfigError, did_you_mean
from clipapps.projects.denseclip.mmseg_parts import IoUMetric
from clipapps.registry import METRICS


@METRICS.register_module(name="DenseCLIPIoU")
class SegmentationIoU(IoUMetric):
    """Mean IoU and pixel accuracy over a whole dataset, in 0..1; classes that never occur are left out of means.

    Args:
        background: index of the background class; adds `mIoU_foreground`, the mean without it, and
            `mIoU_all_background`, what predicting background everywhere would score. None: the data has none.
        ignore_index: label value that is not evaluated.
        per_class: also report `IoU/<class name>` for each class.
        held_out: names of classes that training never named; adds `mIoU_unseen`, `mIoU_seen` (all others but the
            background), and `hIoU`, the harmonic mean of both: the figures of generalized zero-shot segmentation.

    >>> metric = SegmentationIoU(background=0, per_class=False)
    >>> area = np.array
    >>> metric.compute_metrics([(area([3, 1]), area([4, 2]), area([4, 1]), area([3, 2]))])["mIoU"]
    0.625
    """

    default_prefix = ""  # plain names; None would make mmengine warn about them

    def __init__(self, background: int | None = None, ignore_index: int = 255, per_class: bool = True,
                 held_out: Sequence[str] = (), collect_device: str = "cpu", prefix: str | None = None) -> None:
        super().__init__(ignore_index=ignore_index, collect_device=collect_device, prefix=prefix)
        self.background = background
        self.per_class = per_class
        self.held_out = tuple(held_out)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Figures of all images together.

        Args:
            results: one (intersection, union, predicted, labeled) tuple of pixel counts (K,) for each image.
        """
        areas = np.asarray([[np.asarray(area) for area in result] for result in results], dtype=np.float64)  # (n, 4, K)
        intersection, union, _, labeled = areas.sum(axis=0)
        iou = _ratio(intersection, union)
        figures = {"mIoU": _mean(iou), "aAcc": float(intersection.sum() / max(labeled.sum(), 1.0))}
        if self.background is not None:
            trivial = np.zeros_like(iou)
            trivial[self.background] = labeled[self.background] / max(labeled.sum(), 1.0)
            figures["mIoU_foreground"] = _mean(np.delete(iou, self.background))
            figures["mIoU_all_background"] = _mean(trivial[labeled > 0])
        names = self.dataset_meta["classes"] if self.per_class or self.held_out else ()
        if self.held_out:
            figures |= self._seen_and_unseen(iou, names)
        if self.per_class:
            figures |= {f"IoU/{name}": float(value) for name, value in zip(names, iou, strict=True)
                        if not np.isnan(value)}
        return figures

    def _seen_and_unseen(self, iou: np.ndarray, names: Sequence[str]) -> dict[str, float]:
        for name in self.held_out:
            if name not in names:
                raise ConfigError(f"The metric's held_out has {name!r}, which is no class of the data."
                                  f"{did_you_mean(name, names)}")
        unseen = np.array([name in self.held_out for name in names])
        seen = ~unseen
        if self.background is not None:
            seen[self.background] = False
        of_seen, of_unseen = _mean(iou[seen]), _mean(iou[unseen])
        harmonic = 2 * of_seen * of_unseen / max(of_seen + of_unseen, 1e-12)
        return {"mIoU_seen": of_seen, "mIoU_unseen": of_unseen, "hIoU": harmonic}


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)


def _mean(values: np.ndarray) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else 0.0
