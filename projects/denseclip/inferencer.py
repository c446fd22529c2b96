"""Segment pictures: with a trained segmentor, or for any class names with CLIP's own dense scores."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image as PILImage
from torch import Tensor

from clipapps.engine import checkpoint
from clipapps.engine.atomic import atomic_file
from clipapps.engine.builtin_words import warn_of_unknown_words
from clipapps.engine.config import load_config
from clipapps.engine.trained_config import config_of_weights
from clipapps.errors import UserError
from clipapps.inference import Image, Inferencer, Result
from clipapps.projects.denseclip.maskclip import MaskCLIPSegmentor
from clipapps.projects.denseclip.models import CLIPSegmentor, DenseCLIPSegmentor
from clipapps.registry import MODELS
from clipapps.visualization.masks import class_colors, legend, overlay
from clipapps.visualization.panels import stacked

TINY_ARCH = "tiny-rn"
TRAINING_FREE = "denseclip/maskclip_tiny_toyworld"  # what runs without weights
MIN_LEGEND_WIDTH = 320
FOR_PHOTOGRAPHS = ("for photographs use clipapps.load('denseclip', arch='ViT-B-16-quickgelu', clip_weights='openai', "
                   "classes=[...])")
#: larger pictures are scaled down to this many pixels before the backbone sees them
MAX_MODEL_PIXELS = 4_000_000


@dataclass
class SegmentationResult(Result):
    """A segmented picture.

    Args:
        name, image: see `Result`.
        mask: class index of every pixel, (H, W) uint8 or uint16.
        confidence: probability of that class, (H, W) float32 in 0..1.
        class_names: name of each index.
        palette: its RGB color.
        method: which model and which way.
        unknown_words: words in the class names that the model never saw.
    """

    mask: np.ndarray
    confidence: np.ndarray
    class_names: tuple[str, ...]
    palette: Sequence[Sequence[int]]
    method: str = ""
    unknown_words: list[str] = field(default_factory=list)

    def plot(self) -> Image:
        """The picture under its mask's colors, with a legend of the classes in it."""
        painted = self.annotated()
        present = np.unique(self.mask).tolist()
        names, colors = [self.class_names[i] for i in present], [self.palette[i] for i in present]
        return stacked([painted, legend(names, colors, width=max(painted.shape[1], MIN_LEGEND_WIDTH))])

    def annotated(self) -> Image:
        """The picture under its mask's colors."""
        return overlay(self.image, self.mask, self.palette)

    def to_dict(self) -> dict[str, Any]:
        """Share of the pixels and mean confidence of each class in the picture, largest first."""
        classes = []
        for index in np.unique(self.mask).tolist():
            pixels = self.mask == index
            classes.append(dict(index=index, name=self.class_names[index], share=round(float(pixels.mean()), 4),
                                confidence=round(float(self.confidence[pixels].mean()), 4)))
        classes.sort(key=lambda entry: -entry["share"])
        return dict(size=list(self.mask.shape), method=self.method, classes=classes, unknown_words=self.unknown_words)

    def save(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write the picture, its facts, and `<name>_mask.png`: class indices, shown in the legend's colors."""
        paths = super().save(folder)
        path = Path(folder) / f"{self.name}_mask.png"
        picture = PILImage.fromarray(self.mask)
        if self.mask.dtype == np.uint8:  # a palette shows indices in color; PNG has none for 16 bits
            picture.putpalette([value for color in self.palette for value in color])
        with atomic_file(path) as stream:
            picture.save(stream, format="PNG")
        return [*paths, path]


class DenseCLIPInferencer(Inferencer):
    """Semantic segmentation of pictures.

    With `weights` of a trained config its segmentor runs; class names other than the trained ones are then answered by
    its score maps: cosine similarity of every position with every name, no decoder. Without weights CLIP answers
    alone, training-free (`MaskCLIPSegmentor`).

    Args:
        weights: `best.safetensors` or a checkpoint of a training run; None: CLIP alone.
        device: where to run.
        classes: class names; None: the trained ones, or the toy world's.
        config: config of the weights; None: found beside them or by the name that they carry.
        arch, clip_weights: the CLIP used without `weights`, for example "ViT-B-16-quickgelu" and "openai".
        short_side: pictures are scaled to this many pixels on the short side; None: what the model was trained with.

    >>> result = DenseCLIPInferencer(clip_weights=None)(np.zeros((64, 96, 3), np.uint8))[0]
    >>> result.mask.shape
    (64, 96)
    """

    def __init__(
        self,
        weights: str | Path | None = None,
        device: torch.device | str = "cpu",
        *,
        classes: Sequence[str] | None = None,
        config: str | Path | None = None,
        arch: str = TINY_ARCH,
        clip_weights: str | None = "builtin",
        short_side: int | None = None,
    ) -> None:
        self.device = torch.device(device)
        names = checked_names(classes) if classes is not None else None
        self.segmentor: CLIPSegmentor | MaskCLIPSegmentor
        if weights is not None:
            cfg = config_of_weights("denseclip", weights, config)
            self.segmentor = load_segmentor(cfg, weights)
            arch, self.short_side = cfg.model.backbone.arch, short_side or trained_short_side(cfg)
            self.label = checkpoint.read_metadata(weights).get("config") or Path(cfg.filename).stem
        else:
            self.segmentor = training_free_segmentor(arch, clip_weights, names)
            self.label, self.short_side = f"CLIP {arch}", short_side or min(self.segmentor.backbone.native_size)
        self.segmentor.to(self.device).eval()
        self.clip, trained = self.segmentor.backbone, self.segmentor.class_names
        self.class_names = names or trained
        if self.class_names != trained:
            if not isinstance(self.segmentor, DenseCLIPSegmentor):
                raise UserError(f"{self.label} has no language part, so it only knows the classes it was trained with: "
                                f"{', '.join(trained)}. Leave out the class names, or use weights of a DenseCLIP "
                                "config.")
            self.segmentor.use_vocabulary(self.class_names)
        has_decoder = self.class_names == trained and isinstance(self.segmentor, CLIPSegmentor)
        self.method = f"{self.label}, {'decoder' if has_decoder else 'score maps'}"
        self.palette = class_colors(self.class_names)
        self.unknown_words = warn_of_unknown_words(self.class_names, arch, FOR_PHOTOGRAPHS) if arch == TINY_ARCH else []

    def predict(self, image: Image, name: str) -> SegmentationResult:
        """One RGB image -> its segmentation at the image's own size."""
        return self.predict_batch([image], [name])[0]

    def predict_batch(self, images: Sequence[Image], names: Sequence[str]) -> list[SegmentationResult]:
        """RGB images of one size -> their segmentations."""
        prepared = self._prepare(np.stack(images))
        facts = [dict(img_shape=prepared.shape[2:], ori_shape=prepared.shape[2:]) for _ in images]
        logits = self.segmentor.inference(prepared, facts).float()
        kind, results = np.uint8 if len(self.class_names) <= 256 else np.uint16, []
        for image, name, own in zip(images, names, logits, strict=True):  # one by one: full-size logits are large
            full = F.interpolate(own[None], size=image.shape[:2], mode="bilinear", align_corners=False)[0]
            confidence, mask = full.softmax(dim=0).max(dim=0)
            results.append(SegmentationResult(name, image, mask.cpu().numpy().astype(kind), confidence.cpu().numpy(),
                                              self.class_names, self.palette, self.method, self.unknown_words))
        return results

    def _prepare(self, images: np.ndarray) -> Tensor:
        """(B, H, W, 3) uint8 -> normalized (B, 3, h, w) of the size that the model reads."""
        pixels = torch.from_numpy(images).to(self.device).permute(0, 3, 1, 2).float() / 255
        height, width = images.shape[1:3]
        scale = self.short_side / min(height, width) if self.short_side else 1.0
        scale = min(scale, (MAX_MODEL_PIXELS / (height * width)) ** 0.5)
        size = [max(self.clip.stride, round(side * scale)) for side in (height, width)]
        return self.clip.normalize(F.interpolate(pixels, size=size, mode="bilinear", antialias=True).clamp(0, 1))


def checked_names(classes: Sequence[str]) -> tuple[str, ...]:
    """Class names as a tuple; raises UserError for one text, an empty list, or an empty or repeated name."""
    if isinstance(classes, str):
        raise UserError(f"`classes` is the text {classes!r}; expected a list of names, such as "
                        f"{[name.strip() for name in classes.split(',')]}.")
    names = tuple(name.strip() for name in classes)
    if not names or "" in names or len(set(names)) < len(names):
        raise UserError(f"`classes` needs at least one name, none of them empty or repeated; it is {list(classes)}.")
    return names


def load_segmentor(cfg: Config, weights: str | Path) -> CLIPSegmentor:
    """The config's segmentor with these weights; CLIP's own are not fetched.

    Raises:
        WeightsError: they cannot be read or belong to another model.
    """
    init_default_scope("clipapps")
    model: CLIPSegmentor = MODELS.build(cfg.model)
    checkpoint.load_weights(model, weights)
    return model


def training_free_segmentor(arch: str, weights: str | None, names: tuple[str, ...] | None) -> MaskCLIPSegmentor:
    """The training-free config with another CLIP or other names; its wording of the background serves the toy world.

    Raises:
        WeightsError: CLIP's weights cannot be found or fetched.
    """
    init_default_scope("clipapps")
    config = load_config(TRAINING_FREE).model
    config.backbone.update(arch=arch, weights=weights)
    if names is not None:
        known = config.pop("wordings")
        config.update(class_names=names, wordings={name: known[name] for name in names if name in known})
    if arch != TINY_ARCH:
        config.pop("wordings", None)
    model: MaskCLIPSegmentor = MODELS.build(config)
    model.backbone.init_weights()
    return model


def trained_short_side(cfg: Config) -> int | None:
    """Short side in pixels of the pictures that a config evaluates; None: it takes them as they are."""
    dataset = cfg.val_dataloader.dataset
    scales = [min(step["scale"]) for step in dataset.get("pipeline", []) if "scale" in step]
    return scales[0] if scales else dataset.get("size")
