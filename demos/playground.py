"""Tab "CLIP playground": what the shared backbone answers by itself."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from clipapps.clip import CLIPBackbone
from clipapps.errors import UserError
from clipapps.toyworld import SceneSpec, render, sample_scene
from clipapps.web import parts
from clipapps.web.parts import answering, gr

TEMPLATE = "a picture of a {}."
QUESTIONS = "star, fish, house, tree, cup, car"


@functools.lru_cache(maxsize=1)  # one model in memory at a time
def backbone(arch: str = "tiny-rn") -> CLIPBackbone:
    """A frozen backbone, ready to answer."""
    return CLIPBackbone.from_pretrained(arch, "builtin", trainable="none", dense="value").eval()


def prepared(clip: CLIPBackbone, image: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 RGB -> normalized (1, 3, S, S) at the native size, squashed."""
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255
    pixels = F.interpolate(pixels, size=clip.native_size, mode="bilinear", antialias=True)
    return clip.normalize(pixels.clamp(0, 1))


@torch.inference_mode()
def classify(image: np.ndarray, names: list[str], template: str = TEMPLATE) -> dict[str, float]:
    """Zero-shot classification: name -> probability."""
    clip = backbone()
    pooled = clip(prepared(clip, image), dense=None).pooled
    assert pooled is not None
    classes = clip.encode_classes(names, (template,))
    scores = (clip.logit_scale() * F.normalize(pooled, dim=-1) @ classes.t()).softmax(dim=-1)[0]
    return dict(zip(names, scores.tolist(), strict=True))


@torch.inference_mode()
def heat_map(image: np.ndarray, text: str) -> np.ndarray:
    """The picture with the cosine similarity of every position to a text over it, (H, W, 3) uint8 RGB."""
    clip = backbone()
    dense = clip(prepared(clip, image)).dense
    assert dense is not None
    words = clip.encode_text([text], normalize=True)[0]
    similarity = torch.einsum("bdhw,d->bhw", F.normalize(dense, dim=1), words)[:, None]
    similarity = F.interpolate(similarity, size=image.shape[:2], mode="bicubic")[0, 0]
    low, high = similarity.aminmax()
    share = ((similarity - low) / (high - low).clamp_min(1e-6)).numpy()
    heat = matplotlib.colormaps["inferno"](share)[..., :3] * 255
    return (0.45 * image + 0.55 * heat).round().astype(np.uint8)


@torch.inference_mode()
def similarities(images: list[np.ndarray], texts: list[str]) -> np.ndarray:
    """Cosine similarities of pictures (rows) to pictures and then texts (columns), (N, N + K)."""
    clip = backbone()
    pooled = clip(torch.cat([prepared(clip, image) for image in images]), dense=None).pooled
    assert pooled is not None
    embeds = F.normalize(pooled, dim=-1)
    others = torch.cat([embeds, clip.encode_text(texts, normalize=True)]) if texts else embeds
    return (embeds @ others.t()).numpy()


def examples(folder: Path) -> list[str]:
    """Pictures of the toy world, which the built-in CLIP knows."""
    scenes = [sample_scene(seed, 0, SceneSpec(min_objects=count, max_objects=count, group=0.0, backlit=0.0, dark=0.0))
              for seed, count in ((3, 1), (5, 2), (8, 3), (13, 4))]
    return parts.example_files([(f"scene{number}", render(scene, 384).image)
                                for number, scene in enumerate(scenes)], folder)


def build_tab(folder: Path) -> None:
    """The tab's components and events; `folder` takes its example pictures."""
    files = examples(folder)
    gr.Markdown("The built-in CLIP is tiny and knows the toy world alone: ten objects, eight colors, eight "
                "backgrounds.", elem_classes="facts")
    with gr.Tab("Name it"):
        _classification(files)
    with gr.Tab("Find words"):
        _heat_maps(files)
    with gr.Tab("Compare"):
        _comparison(files)


def _classification(files: list[str]) -> None:
    with gr.Row():
        with gr.Column():
            image = parts.picture_input(value=files[0])
            names = gr.Textbox(QUESTIONS, label="Names, separated by commas", max_length=parts.MAX_TEXT)
            template = gr.Textbox(TEMPLATE, label="Sentence around each name, {} stands for it", max_length=200)
            button = gr.Button("Name it", variant="primary")
        answer = gr.Label(label="Probabilities", num_top_classes=5)

    @answering
    def classify_picture(image: str, names: str, template: str) -> dict[str, float]:
        """Zero-shot classification of a picture: probabilities of names."""
        if template.count("{}") != 1:
            raise UserError("The sentence needs {} exactly once, where the name belongs.")
        return classify(parts.picture(image), parts.names(names, least=2), template)

    button.click(classify_picture, [image, names, template], answer, api_name="classify")
    gr.Examples([[file] for file in files], [image], label="Toy-world pictures")


def _heat_maps(files: list[str]) -> None:
    with gr.Row():
        with gr.Column():
            image = parts.picture_input(value=files[2])
            words = gr.Textbox("a star", label="Any words", max_length=parts.MAX_NAME)
            button = gr.Button("Find", variant="primary")
        answer = gr.Image(label="Bright where the words fit best", interactive=False, height=400)

    @answering
    def find_words(image: str, words: str) -> np.ndarray:
        """Heat map of a text over a picture."""
        return heat_map(parts.picture(image), ", ".join(parts.names(words)))

    button.click(find_words, [image, words], answer, api_name="find")
    gr.Examples([[file] for file in files], [image], label="Toy-world pictures")


def _comparison(files: list[str]) -> None:
    images = gr.File(files[:3], label="Pictures, at most eight", file_count="multiple", file_types=["image"])
    texts = gr.Textbox("a red star, a cup, a fish", label="Texts, separated by commas", max_length=parts.MAX_TEXT)
    button = gr.Button("Compare", variant="primary")
    answer = gr.Dataframe(label="Cosine similarity", interactive=False, wrap=True)

    @answering
    def compare(images: list[str], texts: str) -> dict[str, Any]:
        """Cosine similarities between pictures, and between pictures and texts."""
        if not 1 <= len(images or []) <= 8:
            raise UserError("Choose one to eight pictures.")
        asked = parts.names(texts, least=0)
        table = similarities([parts.picture(path) for path in images], asked)
        own = [f"picture {number}" for number in range(1, len(images) + 1)]
        return {"headers": ["", *own, *asked],
                "data": [[name, *(f"{value:.2f}" for value in row)] for name, row in zip(own, table, strict=True)]}

    button.click(compare, [images, texts], answer, api_name="compare")
