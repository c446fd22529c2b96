"""Instance masks: from COCO's polygons and run lengths to arrays, and from a head's small masks to a picture's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pycocotools import mask as coco_mask
from torch import Tensor

from clipapps.errors import BadSampleError

Segmentation = Sequence[Sequence[float]] | Mapping[str, Any]


def decode_mask(segmentation: Segmentation, size: tuple[int, int]) -> np.ndarray:
    """One object's mask, (H, W) uint8.

    Args:
        segmentation: polygons [[x1, y1, x2, y2, ...], ...] in pixels, or run lengths (plain or compressed).
        size: (H, W) of the picture.

    Raises:
        BadSampleError: it is neither, or made for another size.
    """
    try:
        encoded = encode_segmentation(segmentation, size)
        mask = np.asarray(coco_mask.decode(encoded))
    except BadSampleError:
        raise
    except Exception as error:  # pycocotools raises what its C code stumbles over
        raise BadSampleError(f"A segmentation cannot be read: {error}.") from error
    if mask.shape != tuple(size):
        raise BadSampleError(f"A segmentation was made for {mask.shape[1]} x {mask.shape[0]} pixels, but its picture "
                             f"has {size[1]} x {size[0]}.")
    return mask


def encode_segmentation(segmentation: Segmentation, size: tuple[int, int]) -> dict[str, Any]:
    """COCO's compressed run lengths of polygons or run lengths; raises BadSampleError for anything else."""
    if isinstance(segmentation, Mapping) and isinstance(segmentation.get("counts"), str | bytes):
        return dict(segmentation)
    if isinstance(segmentation, Mapping) and isinstance(segmentation.get("counts"), Sequence):
        return coco_mask.frPyObjects(dict(segmentation), *size)
    polygons = [list(polygon) for polygon in segmentation if isinstance(polygon, Sequence)
                and len(polygon) >= 6 and len(polygon) % 2 == 0]
    if isinstance(segmentation, Mapping) or not polygons:
        raise BadSampleError("A segmentation is neither a list of polygons of at least three points nor run lengths.")
    return coco_mask.merge(coco_mask.frPyObjects(polygons, *size))


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """COCO's compressed run lengths of a mask (H, W); `counts` is text, so that JSON can hold it."""
    encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return dict(size=[int(side) for side in encoded["size"]], counts=encoded["counts"].decode("ascii"))


def paste_masks(probabilities: Tensor, boxes: Tensor, size: tuple[int, int], threshold: float = 0.5) -> Tensor:
    """Masks of a picture from masks of boxes: each is stretched over its box, and cut at the threshold.

    Args:
        probabilities: (N, m, m) in 0..1.
        boxes: (N, 4) in pixels of the picture.
        size: (H, W) of the picture.
        threshold: a pixel belongs to the object from this probability on.

    Returns:
        (N, H, W) bool.
    """
    pasted = torch.zeros(len(boxes), *size, dtype=torch.bool, device=boxes.device)
    for target, mask, box in zip(pasted, probabilities.float(), boxes.tolist(), strict=True):
        left, top, right, bottom = box
        rows = range(max(0, math.floor(top) - 1), min(size[0], math.ceil(bottom) + 1))
        columns = range(max(0, math.floor(left) - 1), min(size[1], math.ceil(right) + 1))
        if not rows or not columns or right <= left or bottom <= top:
            continue
        y = (torch.arange(rows.start, rows.stop, device=boxes.device) + 0.5 - top) / (bottom - top) * 2 - 1
        x = (torch.arange(columns.start, columns.stop, device=boxes.device) + 0.5 - left) / (right - left) * 2 - 1
        grid = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], dim=-1)  # (h, w, 2), pixel centers
        values = F.grid_sample(mask[None, None], grid[None], align_corners=False)[0, 0]
        target[rows.start:rows.stop, columns.start:columns.stop] = values >= threshold
    return pasted
