"""The toy world as datasets: captioned pictures for pre-training, and semantic segmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.dataset import Compose
from torch.utils.data import Dataset

from clipapps.errors import ConfigError, did_you_mean
from clipapps.registry import DATASETS

from . import vocabulary as words
from .captions import CaptionDetail, make_detail, sample_caption
from .render import render
from .scene import Scene, SceneSpec, make_spec, sample_scene

SPLITS: tuple[str, ...] = ("train", "val", "test")
ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "category": words.CATEGORIES, "color": words.COLORS, "texture": words.TEXTURES, "size": words.SIZES,
    "orientation": words.ORIENTATIONS, "position": words.POSITIONS, "distance": words.DISTANCES,
    "background": (*words.BACKGROUNDS, words.PLAIN_BACKGROUND), "lighting": words.LIGHTINGS,
}
"""Attribute name -> its values; samples carry indices into these."""


def split_seed(seed: int, split: str) -> int:
    """The world seed of a split; no two (seed, split) pairs share one. Raises ConfigError for an unknown split."""
    if split not in SPLITS:
        raise ConfigError(f"The toy world has no split {split!r}.{did_you_mean(split, SPLITS)} "
                          f"It has: {', '.join(SPLITS)}.")
    return seed * len(SPLITS) + SPLITS.index(split)


def scene_attributes(scene: Scene) -> dict[str, int]:
    """Index of each attribute in `ATTRIBUTES`, "count", and "group" (1 when several objects share their category).

    Attributes of objects are the nearest one's, -1 without any.
    """
    item = scene.objects[-1] if scene.objects else None
    values = {name: ATTRIBUTES[name].index(getattr(item, name)) if item else -1 for name in ATTRIBUTES
              if name not in ("background", "lighting")}
    for name in ("background", "lighting"):
        values[name] = ATTRIBUTES[name].index(getattr(scene, name))
    group = len(scene.objects) > 1 and len({item.category for item in scene.objects}) == 1
    return {**values, "count": len(scene.objects), "group": int(group)}


@DATASETS.register_module()
class ToyWorldScenes(Dataset):
    """Captioned toy scenes; each index is a new scene, the same in every process.

    A sample: `inputs` (3, size, size) uint8 RGB, `caption`, `meaning` (equal for captions that state the same facts),
    `attributes` (see `scene_attributes`), `sample_idx`, and with `with_masks` `semantic` (size, size) uint8.

    Args:
        num_scenes: length; left out when `stages` are given.
        size: side in pixels, a multiple of 32 for the tiny CLIP.
        seed, split: scenes of different splits never coincide.
        spec: keys of `SceneSpec`; detail: keys of `CaptionDetail`.
        stages: a curriculum, read in order: dicts with `num_scenes` and any of `size`, `spec`, `detail`. Sample it in
            order (`shuffle=False`), and make each stage a multiple of the batch size.
        with_masks: whether samples carry the semantic mask.

    Raises:
        ConfigError: a key or value that the toy world does not have.

    >>> ToyWorldScenes(num_scenes=2, size=32)[1]["inputs"].shape
    torch.Size([3, 32, 32])
    """

    def __init__(self, num_scenes: int | None = None, size: int = 64, seed: int = 0, split: str = "train",
                 spec: dict[str, Any] | SceneSpec | None = None, detail: dict[str, Any] | CaptionDetail | None = None,
                 stages: Sequence[dict[str, Any]] | None = None, with_masks: bool = False) -> None:
        if (num_scenes is None) == (stages is None):
            raise ConfigError("ToyWorldScenes needs either num_scenes or stages, and not both.")
        common = dict(num_scenes=num_scenes, size=size, spec=spec, detail=detail)
        self.stages = [self._make_stage(common, stage) for stage in (stages if stages is not None else [common])]
        self.ends = np.cumsum([stage["num_scenes"] for stage in self.stages])
        self.seed = split_seed(seed, split)
        self.with_masks = with_masks
        self.metainfo = {"attributes": ATTRIBUTES, "classes": words.class_names(), "palette": words.palette()}

    @staticmethod
    def _make_stage(common: dict[str, Any], stage: dict[str, Any]) -> dict[str, Any]:
        known = ("num_scenes", "size", "spec", "detail")
        if not isinstance(stage, Mapping):
            raise ConfigError(f"A stage of ToyWorldScenes is a dict with {', '.join(known)}, not {stage!r}.")
        stage = {**common, **stage}
        for key in stage:
            if key not in known:
                raise ConfigError(f"A stage of ToyWorldScenes has no key {key!r}.{did_you_mean(key, known)}")
        if not stage["num_scenes"]:
            raise ConfigError("Every stage of ToyWorldScenes needs num_scenes > 0.")
        return {**stage, "spec": make_spec(stage["spec"]), "detail": make_detail(stage["detail"])}

    def __len__(self) -> int:
        return int(self.ends[-1])

    def scene(self, index: int) -> Scene:
        """The scene behind a sample."""
        return sample_scene(self.seed, index, self._stage(index)["spec"])

    def _stage(self, index: int) -> dict[str, Any]:
        return self.stages[min(int(np.searchsorted(self.ends, index, side="right")), len(self.stages) - 1)]

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        cv2.setNumThreads(1)  # tiny pictures: OpenCV's threads cost more than they give
        stage, scene = self._stage(index), self.scene(index)
        drawn = render(scene, stage["size"])
        told = sample_caption(scene, self.seed, index, stage["detail"])
        sample = dict(inputs=torch.from_numpy(np.ascontiguousarray(drawn.image.transpose(2, 0, 1))), caption=told.text,
                      meaning=told.meaning, attributes=scene_attributes(scene), sample_idx=index)
        if self.with_masks:
            sample["semantic"] = torch.from_numpy(drawn.semantic)
        return sample


@DATASETS.register_module()
class ToyWorldSegmentation(Dataset):
    """Toy scenes with semantic masks, in the form that mmsegmentation's transforms and `PackSegInputs` read.

    The pipeline starts from `img` (size, size, 3) uint8 BGR, `gt_seg_map` (size, size) uint8 (0 = background),
    `seg_fields`, `img_shape`, `ori_shape`, `img_path` (a name; there is no file), `sample_idx`.

    Args:
        num_scenes: how many scenes; size: side in pixels; seed, split: as in `ToyWorldScenes`.
        spec: keys of `SceneSpec`; the default draws 1 to 4 objects.
        pipeline: transform configs or callables; an empty one returns the dict above.
        test_mode: kept for mmsegmentation's configs; masks are always there.
        metainfo: overrides of `classes` and `palette`.

    >>> sorted(ToyWorldSegmentation(num_scenes=1, size=32)[0])[:2]
    ['gt_seg_map', 'img']
    """

    METAINFO = dict(classes=words.class_names(), palette=words.palette())

    def __init__(self, num_scenes: int, size: int = 128, seed: int = 0, split: str = "train",
                 spec: dict[str, Any] | SceneSpec | None = None, pipeline: Sequence[Any] = (), test_mode: bool = False,
                 metainfo: dict[str, Any] | None = None) -> None:
        if num_scenes < 1:
            raise ConfigError(f"ToyWorldSegmentation needs at least one scene; num_scenes is {num_scenes}.")
        self.num_scenes, self.size, self.split, self.test_mode = num_scenes, size, split, test_mode
        self.seed = split_seed(seed, split)
        self.spec = make_spec({"min_objects": 1, "max_objects": 4, **spec} if isinstance(spec, dict)
                              else spec or SceneSpec(min_objects=1, max_objects=4))
        self.pipeline = Compose(list(pipeline))
        self._metainfo = {**self.METAINFO, **(metainfo or {})}

    @property
    def metainfo(self) -> dict[str, Any]:
        """Class names and palette."""
        return dict(self._metainfo)

    def __len__(self) -> int:
        return self.num_scenes

    def scene(self, index: int) -> Scene:
        """The scene behind a sample."""
        return sample_scene(self.seed, index, self.spec)

    def get_data_info(self, index: int) -> dict[str, Any]:
        """The sample before the pipeline."""
        drawn = render(self.scene(index), self.size)
        shape = drawn.image.shape[:2]
        return dict(img=np.ascontiguousarray(drawn.image[..., ::-1]), img_shape=shape, ori_shape=shape,
                    gt_seg_map=drawn.semantic, seg_fields=["gt_seg_map"], reduce_zero_label=False, label_map=None,
                    img_path=f"toyworld-{self.split}-{index:05d}.png", sample_idx=index)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        cv2.setNumThreads(1)
        return self.pipeline(self.get_data_info(index))
