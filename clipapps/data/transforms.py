"""Pipeline steps that load an image and its segmentation, for mmcv and mmsegmentation pipelines."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from clipapps.data.images import MAX_PIXELS, read_image, read_mask
from clipapps.errors import BadSampleError
from clipapps.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Read `img_path` into `img`, (H, W, 3) uint8 in BGR order as mmcv's transforms expect it.

    Also sets `img_shape` and `ori_shape`, both (H, W).

    Args:
        max_pixels: width times height allowed.

    Raises:
        BadSampleError: the file cannot be used.
    """

    def __init__(self, max_pixels: int = MAX_PIXELS) -> None:
        self.max_pixels = max_pixels

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load one sample's image."""
        image = np.ascontiguousarray(read_image(results["img_path"], max_pixels=self.max_pixels)[..., ::-1])
        results.update(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2])
        return results


@TRANSFORMS.register_module()
class LoadSegmentation(BaseTransform):
    """Read `seg_map_path` into `gt_seg_map`, (H, W) uint8 class ids, and check it against the classes and the image.

    The sample's `reduce_zero_label` (0 becomes `ignore_index`, all other ids move down by one) and `label_map` (old id
    to new id) are applied in this order, as mmsegmentation does.

    Args:
        num_classes: ids from 0 to num_classes - 1 are allowed; None takes the sample's `num_classes`, and without one
            ids are not checked.
        ignore_index: the id that is always allowed and never counts.

    Raises:
        BadSampleError: the file cannot be read, has ids outside the classes, or another size than the image.
    """

    def __init__(self, num_classes: int | None = None, ignore_index: int = 255) -> None:
        self.num_classes = num_classes
        self.ignore_index = ignore_index

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load one sample's segmentation."""
        path = results["seg_map_path"]
        ids = self._renumbered(read_mask(path), results)
        self._check_ids(ids, results, path)
        expected = results.get("ori_shape")  # of the file: a Resize between the two steps leaves it alone
        if expected is not None and tuple(expected[:2]) != ids.shape:
            (height, width), (own_height, own_width) = expected[:2], ids.shape
            raise BadSampleError(f"{path} is {own_width} x {own_height} pixels, but its image "
                                 f"{results.get('img_path', '')} is {width} x {height}.")
        results["gt_seg_map"] = ids.astype(np.uint8)
        results.setdefault("seg_fields", []).append("gt_seg_map")
        return results

    def _renumbered(self, ids: np.ndarray, results: dict[str, Any]) -> np.ndarray:
        if results.get("reduce_zero_label"):
            ignored = (ids == 0) | (ids == self.ignore_index)
            ids = np.where(ignored, self.ignore_index, ids.astype(np.int32) - 1)
        label_map = results.get("label_map")
        if label_map:
            renumbered = ids.copy()
            for old, new in label_map.items():
                renumbered[ids == old] = new
            ids = renumbered
        return ids

    def _check_ids(self, ids: np.ndarray, results: dict[str, Any], path: str) -> None:
        count = self.num_classes if self.num_classes is not None else results.get("num_classes")
        limit = count if count is not None else 256
        wrong = [int(value) for value in np.unique(ids) if not 0 <= value < limit and value != self.ignore_index]
        if wrong:
            shown = ", ".join(map(str, wrong[:5])) + (", ..." if len(wrong) > 5 else "")
            raise BadSampleError(f"{path} has class ids {shown}, but ids go from 0 to {limit - 1} "
                                 f"(and {self.ignore_index} for ignored pixels).")
