"""Tab "CLIP playground": what the shared backbone answers by itself, with any CLIP."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from clipapps.clip import CLIPBackbone
from clipapps.clip.open_clip_models import download_bytes, find_local, list_pairs, resolve_arch
from clipapps.engine.builtin_words import warn_of_unknown_words
from clipapps.errors import UserError
from clipapps.toyworld import SceneSpec, render, sample_scene
from clipapps.web import parts, tabs, views
from clipapps.web.parts import answering, gr
from clipapps.web.tabs import MODEL_QUEUE

TEMPLATE = "a picture of a {}."
QUESTIONS = "star, fish, house, tree, cup, car"
TEXTS = "a blue tree, an orange car, a mushroom"
BUILTIN = "tiny-rn / builtin"
CONFIG = "pretrain/clip_rn_tiny_toyworld"
TRAINING = ("train_cfg.max_iters=120", "train_cfg.val_interval=40")  # the first minutes of the curriculum
MAX_COMPARED = 8
_MEGABYTE = 1_000_000


@functools.lru_cache(maxsize=1)  # one model in memory at a time
def backbone(name: str = BUILTIN) -> CLIPBackbone:
    """A frozen backbone, ready to answer; `name` is "architecture / tag"."""
    arch, tag = name.split(" / ")
    return CLIPBackbone.from_pretrained(arch, tag, trainable="none", dense="value").eval()


@functools.cache
def backbones() -> list[tuple[str, str]]:
    """(label, name) of every backbone; those that are on this machine come first and say so."""
    here, elsewhere = [], []
    for arch, tag in list_pairs():
        if find_local(resolve_arch(arch), tag):
            here.append((f"{arch} / {tag}  (on this machine)", f"{arch} / {tag}"))
        else:
            elsewhere.append((f"{arch} / {tag}", f"{arch} / {tag}"))
    return here + elsewhere


def state_of(name: str) -> tuple[bool, str]:
    """Whether a backbone can be used without fetching anything, and a sentence that says so, with its size."""
    arch, tag = parts.chosen(name, [value for _, value in backbones()]).split(" / ")
    file = find_local(resolve_arch(arch), tag)
    if file is not None:
        return True, f"{arch}: {file.stat().st_size / _MEGABYTE:,.0f} MB, on this machine."
    size, is_told = download_bytes(resolve_arch(arch), tag)
    return False, (f"{arch} is not on this machine yet: {'' if is_told else 'about '}{size / _MEGABYTE:,.0f} MB to "
                   "fetch. Nothing is fetched before you press the button.")


def ready(name: str) -> CLIPBackbone:
    """A backbone that is on this machine.

    Raises:
        UserError: there is no such one, or it would have to be fetched first.
    """
    is_here, words = state_of(name)
    if not is_here:
        raise UserError(words)
    return backbone(name)


def prepared(clip: CLIPBackbone, image: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 RGB -> normalized (1, 3, S, S) at the native size, squashed."""
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255
    pixels = F.interpolate(pixels, size=clip.native_size, mode="bilinear", antialias=True)
    return clip.normalize(pixels.clamp(0, 1))


@torch.inference_mode()
def classify(clip: CLIPBackbone, image: np.ndarray, names: list[str], template: str = TEMPLATE) -> dict[str, float]:
    """Zero-shot classification: name -> probability."""
    pooled = clip(prepared(clip, image), dense=None).pooled
    assert pooled is not None
    classes = clip.encode_classes(names, (template,))
    scores = (clip.logit_scale() * F.normalize(pooled, dim=-1) @ classes.t()).softmax(dim=-1)[0]
    return dict(zip(names, scores.tolist(), strict=True))


@torch.inference_mode()
def heat_map(clip: CLIPBackbone, image: np.ndarray, text: str) -> np.ndarray:
    """The picture with the cosine similarity of every position to a text over it, (H, W, 3) uint8 RGB."""
    dense = clip(prepared(clip, image)).dense
    assert dense is not None
    words = clip.encode_text([text], normalize=True)[0]
    similarity = torch.einsum("bdhw,d->bhw", F.normalize(dense, dim=1), words)[:, None]
    similarity = F.interpolate(similarity, size=image.shape[:2], mode="bicubic")[0, 0]
    low, high = similarity.aminmax()
    share = ((similarity - low) / (high - low).clamp_min(1e-6)).clamp(0, 1).numpy()
    heat = matplotlib.colormaps["inferno"](share)[..., :3] * 255
    return (0.45 * image + 0.55 * heat).round().astype(np.uint8)


@torch.inference_mode()
def similarities(clip: CLIPBackbone, images: list[np.ndarray], texts: list[str]) -> np.ndarray:
    """Cosine similarities of pictures (rows) to pictures and then texts (columns), (N, N + K)."""
    pooled = clip(torch.cat([prepared(clip, image) for image in images]), dense=None).pooled
    assert pooled is not None
    embeds = F.normalize(pooled, dim=-1)
    others = torch.cat([embeds, clip.encode_text(texts, normalize=True)]) if texts else embeds
    return (embeds @ others.t()).numpy()


def note_of(clip_name: str, began: float, words: list[str]) -> str:
    """The quiet line under an answer."""
    arch, tag = clip_name.split(" / ")
    unknown = warn_of_unknown_words(words, arch, "take another backbone") if tag == "builtin" else []
    return f"{arch}, {time.monotonic() - began:.2f} s.{parts.unknown_words(unknown)}"


def examples(folder: Path) -> list[str]:
    """Pictures of the toy world, which the built-in CLIP knows."""
    scenes = [sample_scene(seed, 0, SceneSpec(min_objects=count, max_objects=count, group=0.0, backlit=0.0, dark=0.0))
              for seed, count in ((3, 1), (5, 2), (8, 3), (13, 4))]
    return parts.example_files([(f"scene{number}", render(scene, 384).image)
                                for number, scene in enumerate(scenes)], folder)


def build_tab(folder: Path) -> None:
    """The tab's components and events; `folder` takes its example pictures."""
    files = examples(folder)
    tabs.lead("What one CLIP answers by itself. The built-in ones are tiny and know the toy world: ten objects, eight "
              "colors, eight backgrounds.")
    with gr.Row(equal_height=True):
        clip = parts.choice_input("Backbone", backbones(), filterable=True, scale=5, min_width=300)
        with gr.Column(scale=6, min_width=300):
            state = tabs.facts(state_of(BUILTIN)[1])
            fetch = gr.Button("Fetch it", visible=False)
    _choosing(clip, state, fetch)
    with gr.Tab("Name it"):
        _classification(files, clip)
    with gr.Tab("Find words"):
        _heat_maps(files, clip)
    with gr.Tab("Compare"):
        _comparison(files, clip)
    tabs.train_panel(CONFIG, overrides=TRAINING, about="The tiny CLIP itself, from nothing: the first steps of its "
                     "curriculum, in which it learns colors. Several minutes on one CPU core.")


def _choosing(clip: gr.Dropdown, state: gr.Markdown, fetch: gr.Button) -> None:
    @answering
    def describe(name: str) -> tuple[str, Any]:
        """Whether a backbone is on this machine, and how large it is."""
        is_here, words = state_of(name)
        return words, gr.Button(visible=not is_here)

    @answering
    def fetch_weights(name: str) -> tuple[str, Any]:
        """Fetches the weights of a backbone from where open_clip has them."""
        backbone(parts.chosen(name, [value for _, value in backbones()]))
        backbones.cache_clear()
        return describe(name)

    clip.input(describe, [clip], [state, fetch], api_name="describe_backbone", show_progress="hidden")
    fetch.click(fetch_weights, [clip], [state, fetch], api_name="fetch_backbone", concurrency_id=MODEL_QUEUE)


def _classification(files: list[str], clip: gr.Dropdown) -> None:
    @answering
    def classify_picture(image: str, names: str, template: str = TEMPLATE, clip: str = BUILTIN
                         ) -> tuple[dict[str, float], str]:
        """Zero-shot classification of a picture: probabilities of names, and a note."""
        if (template or "").count("{}") != 1 or len(template) > 2 * parts.MAX_NAME:
            raise UserError("The sentence needs {} exactly once, where the name belongs, and has at most "
                            f"{2 * parts.MAX_NAME} characters.")
        began, asked = time.monotonic(), parts.names(names, least=2)
        return classify(ready(clip), parts.picture(image), asked, template), note_of(clip, began, asked)

    first = classify_picture(files[1], QUESTIONS)
    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            image = parts.picture_input(value=files[1])
            names = gr.Textbox(QUESTIONS, label="Names", info="Separated by commas; at least two.")
            template = gr.Textbox(TEMPLATE, label="Sentence around each name", info="{} stands for the name.")
            with gr.Row(elem_classes="buttons"):
                button = gr.Button("Name it", variant="primary")
        with gr.Column(scale=6, min_width=320):
            answer = gr.Label(first[0], label="Probabilities", num_top_classes=6)
            note = tabs.facts(first[1])
    gr.on([button.click, names.submit, template.submit], classify_picture, [image, names, template, clip],
          [answer, note], api_name="classify", concurrency_id=MODEL_QUEUE, show_progress_on=[answer])
    tabs.examples([[file] for file in files], [image], [answer, note], lambda image: classify_picture(image, QUESTIONS),
                  "Toy-world pictures")


def _heat_maps(files: list[str], clip: gr.Dropdown) -> None:
    @answering
    def find_words(image: str, words: str, clip: str = BUILTIN) -> tuple[np.ndarray, str]:
        """Heat map of a text over a picture, and a note."""
        began, text = time.monotonic(), ", ".join(parts.names(words))
        return heat_map(ready(clip), parts.picture(image), text), note_of(clip, began, [text])

    asked = ["a mushroom", "an orange car", "a tree", "a fish"]
    first = find_words(files[1], asked[1])
    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            image = parts.picture_input(value=files[1])
            words = gr.Textbox(asked[1], label="Any words")
            with gr.Row(elem_classes="buttons"):
                button = gr.Button("Find", variant="primary")
        with gr.Column(scale=6, min_width=320):
            answer = gr.Image(first[0], label="Bright where the words fit best", interactive=False, height=420)
            note = tabs.facts(first[1])
    gr.on([button.click, words.submit], find_words, [image, words, clip], [answer, note], api_name="find",
          concurrency_id=MODEL_QUEUE, show_progress_on=[answer])
    tabs.examples([[file, text] for file, text in zip(files, asked, strict=True)], [image, words], [answer, note],
                  find_words, "Toy-world pictures and words")


def _comparison(files: list[str], clip: gr.Dropdown) -> None:
    @answering
    def compare(images: list[str], texts: str, clip: str = BUILTIN) -> tuple[str, str, dict[str, Any]]:
        """Cosine similarities between pictures, and between pictures and texts: a table, a note, and numbers."""
        if not 1 <= len(images or []) <= MAX_COMPARED:
            raise UserError(f"Choose one to {MAX_COMPARED} pictures.")
        began, asked = time.monotonic(), parts.names(texts, least=0)
        pictures = [parts.picture(path) for path in images]
        table = similarities(ready(clip), pictures, asked)
        own = [f"picture {number}" for number in range(1, len(images) + 1)]
        rows = [(name, [round(float(value), 4) for value in row]) for name, row in zip(own, table, strict=True)]
        return (views.heat_table(rows, [*own, *asked], pictures=pictures), note_of(clip, began, asked),
                {"columns": [*own, *asked], "rows": dict(rows)})

    first = compare(files[:3], TEXTS)
    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            images = parts.files_input(f"Pictures, at most {MAX_COMPARED}", value=files[:3], file_types=["image"])
            texts = gr.Textbox(TEXTS, label="Texts", info="Separated by commas.")
            with gr.Row(elem_classes="buttons"):
                button = gr.Button("Compare", variant="primary")
        with gr.Column(scale=6, min_width=320):
            answer = tabs.answer_view(first[0], label="Cosine similarity")
            note = tabs.facts(first[1])
    values = gr.JSON(first[2], visible=False)
    gr.on([button.click, texts.submit], compare, [images, texts, clip], [answer, note, values], api_name="compare",
          concurrency_id=MODEL_QUEUE, show_progress_on=[answer])
