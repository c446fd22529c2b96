"""Zero-shot classification of pictures: any names, no training (CLIP, arXiv 2103.00020, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from clipapps.clip import CLIPBackbone
from clipapps.engine.builtin_words import warn_of_unknown_words
from clipapps.errors import UserError
from clipapps.inference import Image, Inferencer, Result
from clipapps.toyworld import CATEGORIES
from clipapps.visualization.bars import bars
from clipapps.visualization.panels import stacked

TEMPLATE = "a picture of a {}."
FOR_PHOTOGRAPHS = "for photographs use --arch ViT-B-32-quickgelu --clip-weights openai"
_WIDTH = 480


@dataclass
class ClassificationResult(Result):
    """How well each name fits a picture.

    Args:
        name, image: see `Result`.
        scores: probability of each class, (K,) float32, 1 in sum.
        class_names: K names.
        embedding: the picture's normalized embedding, (D,) float32.
        method: which model.
        top: how many classes are told.
        unknown_words: words in the names that the tiny CLIP never saw.
    """

    scores: np.ndarray
    class_names: tuple[str, ...]
    embedding: np.ndarray
    method: str = ""
    top: int = 5
    unknown_words: list[str] = field(default_factory=list)

    def best(self) -> list[tuple[str, float]]:
        """Names and probabilities of the `top` most probable classes."""
        order = np.argsort(-self.scores, kind="stable")[:self.top]
        return [(self.class_names[index], float(self.scores[index])) for index in order]

    def plot(self) -> Image:
        """The picture over bars of the best classes."""
        names, scores = zip(*self.best(), strict=True)
        return stacked([self.image, bars(names, scores, width=max(_WIDTH, self.image.shape[1]))])

    def to_dict(self) -> dict[str, Any]:
        """The best classes, the most probable first."""
        return dict(method=self.method, unknown_words=self.unknown_words,
                    top=[dict(name=name, score=round(score, 4)) for name, score in self.best()])


class ZeroShotClassifier(Inferencer):
    """Compares pictures with names in the joint space of any CLIP.

    Args:
        weights: CLIP's weights as a file, for example of a pre-training run; None: `clip_weights`.
        device: where to run.
        classes: names; None: the toy world's ten categories.
        template: a sentence with {} where the name goes.
        arch, clip_weights: which CLIP, for example "ViT-B-32-quickgelu" and "openai".
        top: how many classes are told.

    Raises:
        UserError: names or a template that cannot be used. WeightsError: weights that cannot be found or do not fit.

    >>> from clipapps.toyworld import render, sample_scene
    >>> scene = sample_scene(0, 3)
    >>> result = ZeroShotClassifier()(render(scene, 128).image)[0]
    >>> result.best()[0][0] == scene.objects[0].category
    True
    """

    def __init__(self, weights: str | Path | None = None, device: torch.device | str = "cpu", *,
                 classes: Sequence[str] | None = None, template: str = TEMPLATE, arch: str = "tiny-rn",
                 clip_weights: str = "builtin", top: int = 5) -> None:
        names = tuple(CATEGORIES if classes is None else classes)
        if isinstance(classes, str) or not names or top < 1:
            raise UserError(f"`classes` is a list of at least one name, and `top` at least 1; not {classes!r}, {top}.")
        if template.count("{}") != 1:
            raise UserError(f"The template {template!r} needs {{}} exactly once, where the name belongs.")
        self.device, self.class_names, self.top = torch.device(device), names, int(top)
        self.clip = CLIPBackbone.from_pretrained(arch, str(weights or clip_weights), trainable="none", dense=None)
        self.clip.to(self.device)
        self.method = f"zero-shot, CLIP {arch}"
        with torch.inference_mode():
            self.text = self.clip.encode_classes(names, (template,))
        self.unknown_words = warn_of_unknown_words(names, arch, FOR_PHOTOGRAPHS) if arch.startswith("tiny-") else []

    def predict(self, image: Image, name: str) -> ClassificationResult:
        """One RGB image -> how well each name fits."""
        return self.predict_batch([image], [name])[0]

    def predict_batch(self, images: Sequence[Image], names: Sequence[str]) -> list[ClassificationResult]:
        """RGB images of one size -> how well each name fits; they are squashed to the size that CLIP knows."""
        pixels = torch.from_numpy(np.stack(images)).to(self.device).permute(0, 3, 1, 2).float() / 255
        pixels = F.interpolate(pixels, size=self.clip.native_size, mode="bilinear", antialias=True).clamp(0, 1)
        embeds = F.normalize(self.clip(self.clip.normalize(pixels)).pooled.float(), dim=-1)
        scores = (self.clip.logit_scale() * embeds @ self.text.float().t()).softmax(dim=-1)
        return [ClassificationResult(name, image, own.cpu().numpy(), self.class_names, embed.cpu().numpy(), self.method,
                                     self.top, self.unknown_words)
                for name, image, own, embed in zip(names, images, scores, embeds, strict=True)]
