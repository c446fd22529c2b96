"""Detection data sets in COCO's format: a folder of pictures and one JSON file of annotations."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmengine.dataset import BaseDataset

from clipapps.errors import DataError
from clipapps.projects.denseclip.class_names import COCO
from clipapps.registry import DATASETS

Record = dict[str, Any]


@DATASETS.register_module(name="DenseCLIPInstances")
class CocoInstances(BaseDataset):
    """Pictures and their objects. Samples are sorted by image id and carry `sample_idx`.

    A sample begins as `img_path`, `img_id`, `height`, `width`, and `instances`, one dict an object: `bbox` (left, top,
    right, bottom in pixels), `label`, `is_crowd`, `area`, `mask` (polygons or run lengths, None where there is none).
    For training boxes are cut to the picture, objects smaller than a pixel are dropped, and so are pictures without an
    object and tiny pictures. With `test_mode` everything stays as it is in the file.

    Args:
        keep_empty: keep pictures without an object in training, too; they teach what background looks like.
        min_side: pictures whose shorter side is below this many pixels are left out of training.
        **options: mmengine's `BaseDataset`'s: `ann_file`, `data_root`, `data_prefix=dict(img_path=...)`, `pipeline`,
            `metainfo=dict(classes=[...])` (in label order; the file's own categories by id when left out), `indices`,
            `test_mode`.

    Raises:
        DataError: a missing file or folder, a file that is no such JSON, or classes that it does not have.
    """

    def __init__(self, *, keep_empty: bool = False, min_side: int = 32, **options: Any) -> None:
        self.keep_empty, self.min_side = keep_empty, min_side
        super().__init__(**options)

    def load_data_list(self) -> list[Record]:
        """One record a picture."""
        content = self._read()
        label_of = self._labels(content["categories"])
        objects: dict[Any, list[Record]] = defaultdict(list)
        for entry in content["annotations"]:
            if entry["category_id"] in label_of:
                objects[entry["image_id"]].append(entry)
        folder = self._pictures(content["images"])
        records = []
        for image in sorted(content["images"], key=lambda image: image["id"]):
            size = (image["height"], image["width"])
            found = (_instance(entry, label_of) for entry in objects[image["id"]])
            records.append(dict(img_path=str(folder / image["file_name"]), img_id=image["id"], height=size[0],
                                width=size[1], instances=list(found if self.test_mode else _usable(found, size))))
        return records

    def filter_data(self) -> list[Record]:
        """The records that training sees."""
        if self.test_mode:
            return self.data_list
        kept = [record for record in self.data_list if min(record["height"], record["width"]) >= self.min_side
                and (self.keep_empty or any(not item["is_crowd"] for item in record["instances"]))]
        if not kept:
            raise DataError(f"{self.ann_file} has no picture with an object of the classes asked for.")
        return kept

    def _read(self) -> dict[str, Any]:
        file = Path(self.ann_file)
        if not file.is_file():
            raise DataError(f"The annotation file {file} does not exist. {self._advice()}")
        try:
            content = json.loads(file.read_text())
        except ValueError as error:
            raise DataError(f"{file} is no JSON file: {error}.") from error
        needed = dict(images=("id", "file_name", "height", "width"), categories=("id", "name"),
                      annotations=("image_id", "category_id", "bbox"))
        for part, keys in needed.items():
            entries = content.get(part) if isinstance(content, dict) else None
            if not isinstance(entries, list):
                raise DataError(f"{file} has no list {part!r}; expected COCO's instance annotations.")
            for index, entry in enumerate(entries):
                if missing := [key for key in keys if not isinstance(entry, dict) or key not in entry]:
                    raise DataError(f"{file}: entry {index} of {part!r} has no {missing[0]!r}.")
        return content

    def _labels(self, categories: list[Record]) -> dict[Any, int]:
        """Category id -> label; ids may have gaps, names decide."""
        ordered = sorted(categories, key=lambda category: category["id"])
        if not self._metainfo.get("classes"):
            self._metainfo["classes"] = tuple(category["name"] for category in ordered)
        names = [name.strip() for name in self._metainfo["classes"]]
        in_file = {category["name"].strip(): category["id"] for category in ordered}
        if absent := [name for name in names if name not in in_file]:
            raise DataError(f"{self.ann_file} has no category {absent[0]!r} ({len(absent)} of {len(names)} classes are "
                            f"absent); it has {', '.join(list(in_file)[:8])}{', ...' if len(in_file) > 8 else ''}.")
        return {in_file[name]: label for label, name in enumerate(names)}

    def _pictures(self, images: list[Record]) -> Path:
        """The folder of the pictures, of which the first one must be there."""
        folder = Path(self.data_prefix["img_path"])
        if not images:
            raise DataError(f"{self.ann_file} lists no picture.")
        if not (folder / images[0]["file_name"]).is_file():
            raise DataError(f"The picture {folder / images[0]['file_name']}, named in {self.ann_file}, does not exist. "
                            f"{self._advice()}")
        return folder

    def _advice(self) -> str:
        return (f"{type(self).__name__} reads below data_root={str(self.data_root)!r}; give yours with `data_root=...` "
                "on the command line.")


@DATASETS.register_module(name="DenseCLIPCOCO")
class CocoDetection(CocoInstances):
    """COCO with its 80 classes in the order of their ids."""

    METAINFO = dict(classes=COCO)


def _instance(entry: Mapping[str, Any], label_of: Mapping[Any, int]) -> Record:
    left, top, width, height = entry["bbox"]
    return dict(bbox=[left, top, left + width, top + height], label=label_of[entry["category_id"]],
                is_crowd=bool(entry.get("iscrowd", 0)), area=entry.get("area", width * height),
                mask=entry.get("segmentation") or None)


def _usable(found: Iterable[Record], size: tuple[int, int]) -> Iterable[Record]:
    """Objects with their boxes cut to the picture; those of no size, and of less than a pixel, are left out."""
    for item in found:
        left, top, right, bottom = item["bbox"]
        left, right = max(0, left), min(size[1], right)
        top, bottom = max(0, top), min(size[0], bottom)
        if item["area"] > 0 and right - left >= 1 and bottom - top >= 1:
            yield dict(item, bbox=[left, top, right, bottom])
