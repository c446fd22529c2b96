"""Segmentation datasets: image folder beside label folder, checked before anything runs; a part of the toy world."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clipapps.errors import ConfigError, DataError, did_you_mean
from clipapps.projects.denseclip.class_names import ADE20K, CAMVID, CAMVID_PALETTE
from clipapps.projects.denseclip.mmseg_parts import ADE20KDataset, BaseSegDataset
from clipapps.registry import DATASETS
from clipapps.toyworld import ToyWorldSegmentation, class_names

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


@DATASETS.register_module(name="DenseCLIPFolder")
class SegmentationFolder(BaseSegDataset):
    """Images and label maps of equal names in two folders: `images/train/a.jpg`, `annotations/train/a.png`.

    A label map is an 8-bit PNG of class ids; 255 is ignored. Samples are sorted by path and carry `sample_idx`.
    Arguments are mmseg's `BaseSegDataset`'s: `data_root`, `data_prefix=dict(img_path=..., seg_map_path=...)`,
    `metainfo=dict(classes=[...])`, `pipeline`, `indices`, `test_mode`, `reduce_zero_label`.

    Raises:
        DataError: a missing or empty folder, or images without label maps.
    """

    def load_data_list(self) -> list[dict]:
        """One record an image: `img_path`, `seg_map_path`, and what the loading transforms need."""
        images = self._files("img_path")
        labels = Path(self.data_prefix["seg_map_path"])
        root = Path(self.data_prefix["img_path"])
        shared = dict(label_map=self.label_map, reduce_zero_label=self.reduce_zero_label,
                      num_classes=len(self.metainfo["classes"]))
        records = [dict(img_path=str(image), seg_map_path=str(labels / image.relative_to(root).with_suffix(".png")),
                        seg_fields=[], **shared) for image in images]
        self._listed = len(records)
        self._missing = [record for record in records if not Path(record["seg_map_path"]).is_file()]
        return records

    def full_init(self) -> None:
        """List the samples, then refuse a folder in which some have no label map; `data check` reads the others."""
        if self._fully_initialized:
            return
        super().full_init()
        if self._missing:
            raise DataError(f"{len(self._missing)} of {self._listed} images have no label map, the first is "
                            f"{self._missing[0]['img_path']}: expected {self._missing[0]['seg_map_path']}.")

    def _files(self, key: str) -> list[Path]:
        folder = Path(self.data_prefix[key])
        if not folder.is_dir():
            raise DataError(f"The data folder {folder} does not exist. {self._advice()}")
        images = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        if not images:
            raise DataError(f"The data folder {folder} holds no image ({', '.join(IMAGE_SUFFIXES)}). {self._advice()}")
        return images

    def _advice(self) -> str:
        return (f"{type(self).__name__} reads images and label maps below data_root={str(self.data_root)!r}; "
                "give yours with `data_root=...` on the command line.")


@DATASETS.register_module(name="DenseCLIPADE20K")
class ADE20KFolder(SegmentationFolder):
    """ADE20K, 150 classes; label 0 ("other") is ignored, labels 1..150 become 0..149."""

    METAINFO = dict(classes=ADE20K, palette=ADE20KDataset.METAINFO["palette"])

    def __init__(self, *, reduce_zero_label: bool = True, **kwargs: object) -> None:
        super().__init__(reduce_zero_label=reduce_zero_label, **kwargs)


@DATASETS.register_module(name="DenseCLIPCamVid")
class CamVidFolder(SegmentationFolder):
    """CamVid with its usual 11 classes; unlabeled pixels are 255."""

    METAINFO = dict(classes=CAMVID, palette=[list(color) for color in CAMVID_PALETTE])


@DATASETS.register_module(name="DenseCLIPToyWorldSubset")
class ToyWorldSubset(ToyWorldSegmentation):
    """Toy scenes of which only some classes are labeled; pixels of all other classes are 255, ignored.

    What a training set without names and labels of held-out classes is: the scenes stay as they are.

    Args:
        classes: names of the toy world's classes that keep their labels, in the order of the new labels.
        **options: arguments of `ToyWorldSegmentation`.

    Raises:
        ConfigError: a class that the toy world does not have.

    >>> sample = ToyWorldSubset(["tree", "background"], num_scenes=1, size=32)[0]
    >>> set(np.unique(sample["gt_seg_map"])) <= {0, 1, 255}
    True
    """

    def __init__(self, classes: Sequence[str], **options: Any) -> None:
        super().__init__(**options)
        known = class_names()
        for name in classes:
            if name not in known:
                raise ConfigError(f"The toy world has no class {name!r}.{did_you_mean(name, known)}")
        palette = [self._metainfo["palette"][known.index(name)] for name in classes]
        self._metainfo = {**self._metainfo, "classes": tuple(classes), "palette": palette}
        self.new_labels = np.full(256, 255, dtype=np.uint8)
        for label, name in enumerate(classes):
            self.new_labels[known.index(name)] = label

    def get_data_info(self, index: int) -> dict[str, Any]:
        """The sample before the pipeline."""
        sample = super().get_data_info(index)
        return {**sample, "gt_seg_map": self.new_labels[sample["gt_seg_map"]]}
