"""Boxes and instance masks drawn over pictures, with class names and scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from clipapps.registry import VISUALIZERS
from clipapps.visualization.fonts import font, text_width
from clipapps.visualization.masks import legend
from clipapps.visualization.panels import side_by_side, stacked
from clipapps.visualization.segmentation import names_and_colors

_DARK, _LIGHT = (20, 20, 20), (255, 255, 255)


@dataclass
class Instances:
    """The objects of one picture, in its pixels.

    Args:
        boxes: (N, 4) left, top, right, bottom.
        labels: (N,) indices into the class names.
        scores: (N,) in 0..1, or None for true objects.
        masks: (N, H, W) bool, or None.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray | None = None
    masks: np.ndarray | None = None

    def above(self, score: float) -> Instances:
        """Those with at least this score; all when there are no scores."""
        if self.scores is None:
            return self
        kept = self.scores >= score
        return Instances(self.boxes[kept], self.labels[kept], self.scores[kept],
                         None if self.masks is None else self.masks[kept])


def draw_instances(image: np.ndarray, instances: Instances, names: Sequence[str], colors: Sequence[Sequence[int]], *,
                   alpha: float = 0.5, with_text: bool = True) -> np.ndarray:
    """The picture with its objects' masks, boxes and names; of overlapping objects the best stands on top.

    Args:
        image: (H, W, 3) uint8 RGB.
        instances: the objects.
        names: class names; colors: one RGB triple a class.
        alpha: weight of the masks' colors over the picture, 0..1.
        with_text: name and score at each box.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    order = range(len(instances.labels)) if instances.scores is None else np.argsort(instances.scores, kind="stable")
    mixed = image.astype(np.float32)
    masks = instances.masks
    for index in order if masks is not None else ():
        mask = masks[index].astype(bool)  # type: ignore[index]  # there are masks wherever this loop runs
        mixed[mask] = (1 - alpha) * mixed[mask] + alpha * np.asarray(colors[instances.labels[index]], np.float32)
    canvas = Image.fromarray(mixed.round().clip(0, 255).astype(np.uint8))
    draw, size = ImageDraw.Draw(canvas), max(10, min(18, min(image.shape[:2]) // 24))
    for index in order:
        color = tuple(int(value) for value in colors[instances.labels[index]])
        left, top, right, bottom = (float(side) for side in instances.boxes[index])
        draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=color,
                       width=max(1, min(image.shape[:2]) // 120))
        if with_text:
            score = "" if instances.scores is None else f" {instances.scores[index]:.2f}"
            _tag(draw, (left, top), names[instances.labels[index]] + score, color, size)
    return np.asarray(canvas)


def _tag(draw: ImageDraw.ImageDraw, corner: tuple[float, float], text: str, color: tuple[int, ...], size: int) -> None:
    """A line of text on its class's color, above the corner, or below it at the picture's border."""
    width, height = text_width(text, size) + 4, size + 4
    left = max(0.0, min(corner[0], draw.im.size[0] - width))
    top = corner[1] - height if corner[1] >= height else corner[1]
    draw.rectangle((left, top, left + width, top + height), fill=color)
    brightness = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]
    draw.text((left + 2, top + 1), text, font=font(size), fill=_DARK if brightness > 140 else _LIGHT)


@VISUALIZERS.register_module()
class InstancePainter:
    """Paint what a detector's samples hold: the input, the true objects, and the predicted ones.

    Args:
        score_threshold: predicted objects below this score are left out.
        channel_order: of the input tensors, "bgr" (mmcv's pipelines) or "rgb".
        min_side: smaller pictures are enlarged, so that the longer side has this many pixels.

    >>> InstancePainter().score_threshold
    0.3
    """

    def __init__(self, score_threshold: float = 0.3, channel_order: str = "bgr", min_side: int = 256) -> None:
        self.score_threshold, self.channel_order, self.min_side = score_threshold, channel_order, min_side

    def paint(self, inputs: Any, sample: Any, dataset_meta: dict[str, Any]) -> np.ndarray:
        """One sample's picture, (H, W, 3) uint8 RGB.

        Args:
            inputs: (3, H, W) uint8, as the pipeline made it.
            sample: has `pred_instances` in pixels of the original picture, `ori_shape`, and `instances` where the
                truth is known.
            dataset_meta: "classes" and "palette" of the data set.
        """
        names, colors = names_and_colors(dataset_meta)
        image, factor = self._picture(inputs, sample.ori_shape[:2])
        panels = [("input", image)]
        found = _predicted(sample.pred_instances).above(self.score_threshold)
        shown = [found]
        if sample.get("instances") is not None:
            shown.insert(0, _true(sample.get("instances"), sample.ori_shape[:2]))
        for title, instances in zip(("truth", "prediction")[-len(shown):], shown, strict=True):
            panels.append((title, draw_instances(image, _enlarged(instances, factor), names, colors)))
        row = side_by_side(panels)
        present = sorted({int(label) for instances in shown for label in instances.labels})
        if not present:
            return row
        return stacked([row, legend([names[i] for i in present], [colors[i] for i in present], width=row.shape[1])])

    def _picture(self, inputs: Any, size: tuple[int, int]) -> tuple[np.ndarray, float]:
        """The picture, RGB, and its pixels per original pixel."""
        array = np.asarray(inputs.detach().cpu()).transpose(1, 2, 0)
        image = Image.fromarray(np.ascontiguousarray(array[..., ::-1] if self.channel_order == "bgr" else array))
        factor = max(1.0, self.min_side / max(size))
        return np.asarray(image.resize((round(size[1] * factor), round(size[0] * factor)),
                                       Image.Resampling.BICUBIC)), factor


def _predicted(found: Any) -> Instances:
    masks = found.masks.cpu().numpy() if "masks" in found else None
    return Instances(found.bboxes.cpu().numpy(), found.labels.cpu().numpy(), found.scores.cpu().numpy(), masks)


def _true(annotations: Sequence[dict[str, Any]], size: tuple[int, int]) -> Instances:
    masks = [_true_mask(item.get("mask"), size) for item in annotations]
    known = [mask for mask in masks if mask is not None]
    return Instances(np.array([item["bbox"] for item in annotations], np.float32).reshape(-1, 4),
                     np.array([item["label"] for item in annotations], np.int64),
                     masks=np.stack(known) if known and len(known) == len(masks) else None)


def _true_mask(segmentation: Any, size: tuple[int, int]) -> np.ndarray | None:
    """(H, W) bool of polygons or plain run lengths, COCO's forms; None of everything else."""
    if isinstance(segmentation, dict) and isinstance(segmentation.get("counts"), list):
        runs = np.repeat(np.arange(len(segmentation["counts"])) % 2 == 1, segmentation["counts"])
        return runs.reshape(size[1], size[0]).T if runs.size == size[0] * size[1] else None
    if not isinstance(segmentation, list):
        return None
    canvas = Image.new("1", (size[1], size[0]))
    for polygon in segmentation:
        ImageDraw.Draw(canvas).polygon(list(polygon), fill=1)
    return np.asarray(canvas)


def _enlarged(instances: Instances, factor: float) -> Instances:
    masks = instances.masks
    if masks is not None and factor != 1.0 and len(masks):
        size = (round(masks.shape[2] * factor), round(masks.shape[1] * factor))
        masks = np.stack([np.asarray(Image.fromarray(mask.astype(np.uint8)).resize(size)) for mask in masks])
    return Instances(instances.boxes * factor, instances.labels, instances.scores, masks)
