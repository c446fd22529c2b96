"""The toy world for detection and instance segmentation: exact boxes and masks in the terms of COCO."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.dataset import Compose
from PIL import Image
from torch.utils.data import Dataset

from clipapps.errors import ConfigError
from clipapps.registry import DATASETS

from . import vocabulary as words
from .datasets import split_seed
from .render import Rendering, render
from .scene import Scene, SceneSpec, make_spec, sample_scene


def run_lengths(mask: np.ndarray) -> dict[str, list[int]]:
    """COCO's uncompressed run lengths of a mask (H, W): zeros and ones in turn, column by column, zeros first.

    >>> run_lengths(np.array([[0, 1], [1, 1]]))
    {'size': [2, 2], 'counts': [1, 3]}
    """
    flat = np.asarray(mask).astype(bool).flatten(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *changes.tolist(), flat.size]).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if flat.size and flat[0] else counts}


@DATASETS.register_module()
class ToyWorldInstances(Dataset):
    """Toy scenes with the boxes and masks of their objects.

    The pipeline starts from `img` (size, size, 3) uint8 BGR, `img_shape`, `ori_shape`, `img_path` (a name; there is no
    file), `img_id`, `sample_idx`, and `instances`: of each visible object `bbox` (left, top, right, bottom in pixels),
    `label` (0..9), `mask` (run lengths), `area` in pixels, `is_crowd` (never).

    Args:
        num_scenes: how many scenes; size: side in pixels; seed, split: as in `ToyWorldScenes`.
        spec: keys of `SceneSpec`; the default draws 1 to 4 objects.
        pipeline: transform configs or callables; an empty one returns the dict above.
        test_mode: False leaves out no scene either; kept for configs that give it.

    >>> sample = ToyWorldInstances(num_scenes=1, size=64)[0]
    >>> len(sample["instances"][0]["bbox"])
    4
    """

    METAINFO = dict(classes=words.CATEGORIES, palette=words.palette()[1:])

    def __init__(self, num_scenes: int, size: int = 128, seed: int = 0, split: str = "train",
                 spec: dict[str, Any] | SceneSpec | None = None, pipeline: Sequence[Any] = (),
                 test_mode: bool = False) -> None:
        if num_scenes < 1:
            raise ConfigError(f"ToyWorldInstances needs at least one scene; num_scenes is {num_scenes}.")
        self.num_scenes, self.size, self.split, self.test_mode = num_scenes, size, split, test_mode
        self.seed = split_seed(seed, split)
        self.spec = make_spec({"min_objects": 1, "max_objects": 4, **spec} if isinstance(spec, dict)
                              else spec or SceneSpec(min_objects=1, max_objects=4))
        self.pipeline = Compose(list(pipeline))

    @property
    def metainfo(self) -> dict[str, Any]:
        """Class names and palette."""
        return dict(self.METAINFO)

    def __len__(self) -> int:
        return self.num_scenes

    def scene(self, index: int) -> Scene:
        """The scene behind a sample."""
        return sample_scene(self.seed, index, self.spec)

    def get_data_info(self, index: int) -> dict[str, Any]:
        """The sample before the pipeline."""
        scene = self.scene(index)
        drawn = render(scene, self.size)
        shape = drawn.image.shape[:2]
        return dict(img=np.ascontiguousarray(drawn.image[..., ::-1]), img_shape=shape, ori_shape=shape, img_id=index,
                    img_path=f"toyworld-{self.split}-{index:05d}.png", sample_idx=index,
                    instances=visible_instances(scene, drawn))

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        cv2.setNumThreads(1)
        return self.pipeline(self.get_data_info(index))


def visible_instances(scene: Scene, drawn: Rendering) -> list[dict[str, Any]]:
    """The objects of a scene that its picture shows, from the farthest to the nearest; see `ToyWorldInstances`."""
    found = []
    for number, (item, box) in enumerate(zip(scene.objects, drawn.boxes_px, strict=True), start=1):
        mask = drawn.instances == number
        if mask.any():
            found.append(dict(bbox=box.tolist(), label=item.label - 1, mask=run_lengths(mask), area=int(mask.sum()),
                              is_crowd=False))
    return found


def write_coco(dataset: ToyWorldInstances, folder: str | Path) -> Path:
    """Write scenes as COCO has them: pictures in `<folder>/images`, and `<folder>/instances.json`, whose path returns.

    Category ids are 10, 20, ... in the order of the class names: ids of real data have gaps, too.
    """
    folder = Path(folder)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        name, (height, width) = info["img_path"], info["img_shape"]
        Image.fromarray(info["img"][..., ::-1]).save(folder / "images" / name)
        images.append(dict(id=index, file_name=name, height=height, width=width))
        for item in info["instances"]:
            left, top, right, bottom = item["bbox"]
            annotations.append(dict(id=len(annotations) + 1, image_id=index, category_id=10 * (item["label"] + 1),
                                    bbox=[left, top, right - left, bottom - top], area=item["area"],
                                    iscrowd=int(item["is_crowd"]), segmentation=item["mask"]))
    categories = [dict(id=10 * number, name=name) for number, name in enumerate(words.CATEGORIES, start=1)]
    file = folder / "instances.json"
    file.write_text(json.dumps(dict(images=images, annotations=annotations, categories=categories)))
    return file
