"""Input, truth and prediction of a segmentation sample in one picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from clipapps.registry import VISUALIZERS
from clipapps.visualization.masks import IGNORED, distinct_colors, legend, overlay
from clipapps.visualization.panels import side_by_side, stacked


@VISUALIZERS.register_module()
class SegmentationPainter:
    """Paint what mmsegmentation's data samples hold: the input, the truth and the prediction over it, and a legend.

    Args:
        alpha: weight of the mask's colors over the picture, 0..1.
        channel_order: of the input tensors, "bgr" (mmcv's pipelines) or "rgb".
        min_side: smaller pictures are enlarged, so that the longer side has this many pixels.
        ignore_index: id of pixels that do not count, drawn as gray hatching.

    >>> SegmentationPainter(alpha=0.5).alpha
    0.5
    """

    def __init__(self, alpha: float = 0.6, channel_order: str = "bgr", min_side: int = 256,
                 ignore_index: int = IGNORED) -> None:
        self.alpha = alpha
        self.channel_order = channel_order
        self.min_side = min_side
        self.ignore_index = ignore_index

    def paint(self, inputs: Any, sample: Any, dataset_meta: dict[str, Any]) -> np.ndarray:
        """One sample's picture, (H, W, 3) uint8 RGB.

        Args:
            inputs: (3, H, W), uint8 or 0..1, as the pipeline made it.
            sample: has `pred_sem_seg.data` (1, H, W), and `gt_sem_seg.data` where the truth is known.
            dataset_meta: "classes" and "palette" of the data set.
        """
        truth, prediction = _ids(sample, "gt_sem_seg"), _ids(sample, "pred_sem_seg")
        image = self._picture(inputs)
        names, colors = names_and_colors(dataset_meta, (truth, prediction))
        panels = [("input", image)]
        for title, ids in (("truth", truth), ("prediction", prediction)):
            if ids is not None:
                panels.append((title, overlay(_gray(image), ids, colors, self.alpha, ignore_index=self.ignore_index)))
        row = side_by_side(panels)
        present = sorted({int(value) for ids in (truth, prediction) if ids is not None
                          for value in np.unique(ids) if value < len(names)})
        if not present:
            return row
        shown = legend([names[i] for i in present], [colors[i] for i in present], width=row.shape[1])
        return stacked([row, shown])

    def _picture(self, inputs: Any) -> np.ndarray:
        array = np.asarray(inputs.detach().cpu() if hasattr(inputs, "detach") else inputs)
        array = array.transpose(1, 2, 0)  # (H, W, 3)
        if array.dtype != np.uint8:
            array = (np.clip(array, 0, 1) * 255).round().astype(np.uint8)
        image = Image.fromarray(np.ascontiguousarray(array[..., ::-1] if self.channel_order == "bgr" else array))
        factor = self.min_side / max(image.size)
        if factor > 1:
            image = image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)
        return np.asarray(image)


def _gray(image: np.ndarray) -> np.ndarray:
    """The picture without its own colors, which would change those of the mask over it."""
    return np.asarray(Image.fromarray(image).convert("L").convert("RGB"))


def names_and_colors(dataset_meta: dict[str, Any], masks: tuple[np.ndarray | None, ...] = ()
                     ) -> tuple[list[str], list[tuple[int, int, int]]]:
    """Class names and colors of a data set; numbers and distinct colors where it has none."""
    names = [str(name) for name in dataset_meta.get("classes") or ()]
    if not names:
        highest = max((int(ids[ids != IGNORED].max(initial=0)) for ids in masks if ids is not None), default=0)
        names = [f"class {index}" for index in range(highest + 1)]
    palette = [(int(red), int(green), int(blue)) for red, green, blue in dataset_meta.get("palette") or ()]
    colors = palette if len(palette) == len(names) else distinct_colors(len(names))
    return names, colors


def _ids(sample: Any, field: str) -> np.ndarray | None:
    part = sample.get(field) if hasattr(sample, "get") else getattr(sample, field, None)
    if part is None:
        return None
    array = np.asarray(part.data.detach().cpu() if hasattr(part.data, "detach") else part.data)
    return array.reshape(array.shape[-2:])


