"""Average precision as COCO defines it, by COCO's own evaluation code."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

from mmengine.evaluator import BaseMetric
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from clipapps.errors import ConfigError, did_you_mean
from clipapps.projects.denseclip.detection.masks import encode_mask, encode_segmentation
from clipapps.registry import METRICS

KINDS = {"box": "bbox", "mask": "segm"}
FIGURES = ("", "50", "75", "_small", "_medium", "_large")  # of COCO's summary, in its order


@METRICS.register_module(name="DenseCLIPAveragePrecision")
class CocoAveragePrecision(BaseMetric):
    """Box AP and mask AP over a data set, in 0..1.

    `box_AP` is the mean over IoU 0.5 to 0.95; `box_AP50`, `box_AP75`, `box_AP_small`, `box_AP_medium`, `box_AP_large`
    stand beside it, and the same for masks. A size that never occurs is left out. The truth is what samples carry as
    `instances`, crowds included: a detection on a crowd is neither right nor wrong.

    Args:
        kinds: "box", "mask", or both.
        per_class: also report `box_AP/<class name>`.
    """

    default_prefix = ""  # plain names; None would make mmengine warn about them

    def __init__(self, kinds: Sequence[str] = ("box",), per_class: bool = False, collect_device: str = "cpu",
                 prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        for kind in kinds:
            if kind not in KINDS:
                raise ConfigError(f"There is no average precision of {kind!r}.{did_you_mean(kind, KINDS)} "
                                  f"Choose from {', '.join(KINDS)}.")
        self.kinds, self.per_class = tuple(kinds), per_class

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep truth and detections of a batch; masks become run lengths at once."""
        for sample in data_samples:
            height, width = sample["ori_shape"][:2]
            truth = [_annotation(item, (height, width), "mask" in self.kinds) for item in sample["instances"]]
            found = sample["pred_instances"]
            entries = [dict(bbox=_as_xywh(box), score=float(score), category_id=int(label)) for box, score, label
                       in zip(found["bboxes"].tolist(), found["scores"], found["labels"], strict=True)]
            if "mask" in self.kinds:
                for entry, mask in zip(entries, found["masks"].cpu().numpy(), strict=True):
                    entry["segmentation"] = encode_mask(mask)
            self.results.append((sample["img_id"], (height, width), truth, entries))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Figures of all images together."""
        names = self.dataset_meta["classes"]
        by_image = {image_id: rest for image_id, *rest in results}
        with contextlib.redirect_stdout(io.StringIO()):
            truth = _ground_truth(by_image, names)
            found = [dict(entry, image_id=image_id) for image_id, (_, _, entries) in by_image.items()
                     for entry in entries]
            figures: dict[str, float] = {}
            for kind in self.kinds:
                figures |= self._figures(kind, truth, found, names)
        return figures

    def _figures(self, kind: str, truth: COCO, found: list[dict[str, Any]], names: Sequence[str]) -> dict[str, float]:
        if not found:
            return {f"{kind}_AP{figure}": 0.0 for figure in FIGURES[:3]}
        # With a box in it COCO takes the box's area for small, medium, and large, even where it judges masks.
        unwanted = "bbox" if kind == "mask" else "segmentation"
        entries = [{key: value for key, value in entry.items() if key != unwanted} for entry in found]
        evaluation = COCOeval(truth, truth.loadRes(entries), KINDS[kind])
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        figures = {f"{kind}_AP{name}": float(value) for name, value in zip(FIGURES, evaluation.stats, strict=False)
                   if value >= 0}
        if self.per_class:
            precision = evaluation.eval["precision"][:, :, :, 0, -1]  # thresholds, recalls, classes
            for index, name in enumerate(names):
                known = precision[:, :, index][precision[:, :, index] > -1]
                if known.size:
                    figures[f"{kind}_AP/{name}"] = float(known.mean())
        return figures


def _annotation(item: dict[str, Any], size: tuple[int, int], with_mask: bool) -> dict[str, Any]:
    entry = dict(bbox=_as_xywh(item["bbox"]), category_id=int(item["label"]), area=float(item["area"]),
                 iscrowd=int(item["is_crowd"]))
    if with_mask:
        entry["segmentation"] = encode_segmentation(item["mask"], size)
    return entry


def _as_xywh(box: Sequence[float]) -> list[float]:
    left, top, right, bottom = map(float, box)
    return [left, top, right - left, bottom - top]


def _ground_truth(by_image: dict[int, Any], names: Sequence[str]) -> COCO:
    coco = COCO()
    annotations = [dict(entry, image_id=image_id) for image_id, (_, truth, _) in by_image.items() for entry in truth]
    coco.dataset = dict(
        info={}, images=[dict(id=image_id, height=size[0], width=size[1]) for image_id, (size, *_) in by_image.items()],
        categories=[dict(id=index, name=name) for index, name in enumerate(names)],
        annotations=[dict(entry, id=number) for number, entry in enumerate(annotations, start=1)])  # COCO ignores id 0
    coco.createIndex()
    return coco
