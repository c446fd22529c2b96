"""Pipeline steps of detection: load boxes and masks, let them follow the picture, pack a sample."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform, RandomFlip, Resize
from mmengine.structures import InstanceData

from clipapps.errors import BadSampleError
from clipapps.projects.denseclip.detection.masks import decode_mask
from clipapps.projects.denseclip.detection.samples import DetectionSample
from clipapps.registry import TRANSFORMS

META_KEYS = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "flip", "flip_direction", "sample_idx")


@TRANSFORMS.register_module(name="DenseCLIPLoadInstances")
class LoadInstances(BaseTransform):
    """Turn `instances` into `gt_bboxes` (G, 4) float32, `gt_labels` (G,) int64 and `gt_masks` (G, H, W) uint8.

    Crowds are left out: they are for evaluation only.

    Args:
        with_masks: False saves the time when only boxes are learned.

    Raises:
        BadSampleError: the picture has another size than its annotations, or a mask cannot be read.
    """

    def __init__(self, with_masks: bool = True) -> None:
        self.with_masks = with_masks

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load one sample's objects; the picture must be there."""
        size = tuple(results["img_shape"][:2])
        stated = (results.get("height", size[0]), results.get("width", size[1]))
        if stated != size:
            raise BadSampleError(f"{results['img_path']} is {size[1]} x {size[0]} pixels; its annotations were made "
                                 f"for {stated[1]} x {stated[0]}.")
        objects = [item for item in results["instances"] if not item["is_crowd"]]
        results["gt_bboxes"] = np.array([item["bbox"] for item in objects], dtype=np.float32).reshape(-1, 4)
        results["gt_labels"] = np.array([item["label"] for item in objects], dtype=np.int64)
        if self.with_masks:
            masks = [self._mask(item, size, results["img_path"]) for item in objects]
            results["gt_masks"] = np.stack(masks) if masks else np.zeros((0, *size), np.uint8)
        return results

    def _mask(self, item: dict[str, Any], size: tuple[int, int], path: str) -> np.ndarray:
        if item.get("mask") is None:
            raise BadSampleError(f"{path}: an object has no segmentation, which this model learns from.")
        try:
            return decode_mask(item["mask"], size)
        except BadSampleError as error:
            raise BadSampleError(f"{path}: {error}") from error


@TRANSFORMS.register_module(name="DenseCLIPResize")
class ResizeInstances(Resize):
    """mmcv's Resize, which masks follow, too, without mixing of neighbors; boxes are cut to the picture."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Resize one sample."""
        results = super().transform(results)
        if "gt_masks" in results:
            height, width = results["img_shape"][:2]
            resized = [cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)
                       for mask in results["gt_masks"]]
            results["gt_masks"] = np.stack(resized) if resized else np.zeros((0, height, width), np.uint8)
        return results


@TRANSFORMS.register_module(name="DenseCLIPRandomFlip")
class FlipInstances(RandomFlip):
    """mmcv's RandomFlip, which masks follow, too."""

    def _flip(self, results: dict[str, Any]) -> None:
        super()._flip(results)
        if "gt_masks" in results:
            axes = dict(horizontal=(2,), vertical=(1,), diagonal=(1, 2))[results["flip_direction"]]
            results["gt_masks"] = np.flip(results["gt_masks"], axis=axes)


@TRANSFORMS.register_module(name="DenseCLIPPackDetection")
class PackDetection(BaseTransform):
    """The picture as a tensor (3, H, W) in BGR order, and what is known about it as a `DetectionSample`.

    Args:
        keep_annotations: keep the annotations as they are in the file, crowds included; evaluation needs them.
    """

    def __init__(self, keep_annotations: bool = False) -> None:
        self.keep_annotations = keep_annotations

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Pack one sample."""
        image = torch.from_numpy(np.ascontiguousarray(results["img"].transpose(2, 0, 1)))
        keys = (*META_KEYS, "instances") if self.keep_annotations else META_KEYS
        sample = DetectionSample(metainfo={key: results[key] for key in keys if key in results})
        if "gt_bboxes" in results:
            # mmcv's Resize multiplies by float64.
            boxes = np.ascontiguousarray(results["gt_bboxes"], dtype=np.float32)
            sample.gt_instances = InstanceData(bboxes=torch.from_numpy(boxes),
                                               labels=torch.from_numpy(results["gt_labels"]))
            if "gt_masks" in results:
                sample.gt_instances.masks = torch.from_numpy(np.ascontiguousarray(results["gt_masks"]))
        return dict(inputs=image, data_samples=sample)
