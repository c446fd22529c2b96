"""The tab of the demo page: photos against the light, before and after, one or many at once."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from skimage import data as photos

from clipapps.data.inputs import unique_names
from clipapps.errors import BadSampleError, UserError
from clipapps.inference import load
from clipapps.projects.backlit.backlighting import backlight
from clipapps.projects.backlit.inferencer import BacklitInferencer, EnhancementResult
from clipapps.web import parts, tabs
from clipapps.web.parts import answering, gr
from clipapps.web.tabs import MODEL_QUEUE, train_panel

TITLE = "Backlit"
CONFIG = "backlit/rave_tiny_toyworld"
TRAINING = ("train_cfg.val_interval=20",)  # so that pictures come in between
PHOTOS = {"rocket": 2, "chelsea": 2, "coffee": 4}  # CC0, shipped by scikit-image; the seed that puts each into shade
BOLDEST, HIGHEST_GAIN = 2, 8
MAX_PHOTOS = 24
FAST_SIDE = 288  # of the copy that the light is computed on, as for videos
EXAMPLE_SIDE = 480
Settings = tuple[float, float, bool, bool]
Answer = tuple[tuple[np.ndarray, np.ndarray], str, str]
DEFAULTS: Settings = (1.0, HIGHEST_GAIN, False, False)


@functools.lru_cache(maxsize=4)
def inferencer(strength: float, max_gain: float, protect_highlights: bool, is_exact: bool) -> BacklitInferencer:
    """The shipped network with these settings."""
    model = load("backlit", strength=strength, max_gain=max_gain, protect_highlights=protect_highlights,
                 map_side=0 if is_exact else FAST_SIDE)
    assert isinstance(model, BacklitInferencer)
    return model


def enhance_file(path: str, settings: Settings) -> EnhancementResult:
    """A photo's file, with its metadata, enhanced."""
    parts.picture(path)  # the page's own limits, and its words for what is no picture
    with parts.without_path(path):
        result = inferencer(*settings)(path)[0]
    assert isinstance(result, EnhancementResult)
    return result


def in_the_shade(name: str, seed: int) -> np.ndarray:
    """A free photo, backlit by computation, (H, W, 3) uint8 RGB."""
    photo = Image.fromarray(np.asarray(getattr(photos, name)())[..., :3])
    photo.thumbnail((EXAMPLE_SIDE, EXAMPLE_SIDE))
    return backlight(np.asarray(photo), np.random.default_rng(seed)).backlit


def build_tab(folder: Path) -> tabs.Opening:
    """The tab's components and events, and what it opens with; `folder` takes its example photos."""
    files = parts.example_files([(name, in_the_shade(name, seed)) for name, seed in PHOTOS.items()], folder)
    tabs.lead("Photos whose subject is dark because the light is behind it. The weights are our own, trained on free "
              "photos.")
    with gr.Tab("One photo"):
        one = _one_photo(files, folder)
    with gr.Tab("Many photos"):
        many = _many_photos(files, folder)
    train_panel(CONFIG, overrides=TRAINING, about="RAVE on the toy world: one to two minutes on one CPU core.")
    return tabs.Opening(lambda: (*one.answer(), *many.answer()), [*one.outputs, *many.outputs])


def _settings() -> list[Any]:
    strength, max_gain, is_protected, is_exact = DEFAULTS
    with gr.Group():
        fields = [gr.Slider(0, BOLDEST, strength, step=0.05, label="Strength"),
                  gr.Slider(1, HIGHEST_GAIN, max_gain, step=0.5, label="Brighten at most, times")]
        with gr.Row():
            return [*fields, gr.Checkbox(is_protected, label="Protect highlights", min_width=140,
                                         info="No color is cut off at white."),
                    gr.Checkbox(is_exact, label="Exact light", min_width=140, info="Slow on large photos.")]


def _one_photo(files: list[str], folder: Path) -> tabs.Opening:
    @answering
    def enhance_photo(image: str, strength: float = 1.0, max_gain: float = HIGHEST_GAIN, protect: bool = False,
                      exact: bool = False) -> Answer:
        """Enhances a backlit photo: (before, after), a note, and the file in its own format with its metadata."""
        return _answer(image, (strength, max_gain, protect, exact), folder)

    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            image = parts.picture_input("Photo", value=files[0])
            settings = _settings()
            with gr.Row(elem_classes="buttons"):
                button = gr.Button("Enhance", variant="primary")
                save = gr.DownloadButton("Save photo")
        with gr.Column(scale=6, min_width=320):
            slider = gr.ImageSlider(label="Before | after", interactive=False, max_height=460)
            note = tabs.facts()
    changes = [setting.release if isinstance(setting, gr.Slider) else setting.input for setting in settings]
    gr.on([button.click, *changes], enhance_photo, [image, *settings], [slider, note, save], api_name="enhance",
          concurrency_id=MODEL_QUEUE, trigger_mode="always_last", show_progress_on=[slider])
    tabs.examples([[file] for file in files], [image], [slider, note, save], enhance_photo,
                  "Free photos, put into shade")
    return tabs.Opening(lambda: _answer(files[0], DEFAULTS, folder / "opening"), [slider, note, save])


def _answer(image: str, settings: Settings, folder: Path) -> Answer:
    began = time.monotonic()
    result = enhance_file(image, settings)
    seconds = time.monotonic() - began
    saved, _ = result.save(parts.fresh_folder(folder))
    return (result.image, result.photo.preview(result.enhanced)), _note(result, seconds), str(saved)


def _many_photos(files: list[str], folder: Path) -> tabs.Opening:
    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            images = parts.files_input(f"Photos, at most {MAX_PHOTOS}", value=files[1:], file_types=["image"])
            settings = _settings()
            with gr.Row(elem_classes="buttons"):
                button = gr.Button("Enhance all", variant="primary")
                cancel = gr.Button("Cancel", variant="stop")
                save = gr.DownloadButton("Save all", interactive=False)
        with gr.Column(scale=6, min_width=320):
            gallery = gr.Gallery(label="Enhanced", columns=2, height="auto", object_fit="contain")
            note = tabs.facts("Press Enhance all to get the photos as one archive.")
    running = button.click(_enhancing_many(folder), [images, *settings], [gallery, note, save], api_name="enhance_many",
                           concurrency_id=MODEL_QUEUE, show_progress_on=[note])
    cancel.click(lambda: "Cancelled.", None, [note], cancels=[running], queue=False, api_visibility="private")
    return tabs.Opening(lambda: [[(_preview(enhance_file(file, DEFAULTS)), Path(file).stem) for file in files[1:]]],
                        [gallery])


def _enhancing_many(folder: Path) -> Callable[..., Iterator[tuple[Any, str, Any]]]:
    @answering
    def enhance_many(images: list[str], strength: float = 1.0, max_gain: float = HIGHEST_GAIN, protect: bool = False,
                     exact: bool = False) -> Iterator[tuple[Any, str, Any]]:
        """Enhances photos one after the other: pictures so far, a note, and at the end an archive of the files."""
        if not 1 <= len(images or []) <= MAX_PHOTOS:
            raise UserError(f"Choose one to {MAX_PHOTOS} photos.")
        settings, own = (strength, max_gain, protect, exact), parts.fresh_folder(folder)
        shown, saved, problems = list[tuple[np.ndarray, str]](), list[Path](), list[str]()
        for file, name in parts.in_time(zip(images, unique_names([Path(file) for file in images]), strict=True)):
            try:
                result = enhance_file(file, settings)
            except BadSampleError as error:
                problems.append(str(error).replace("This file", Path(file).name))
                continue
            result.name = name
            saved.append(result.save(own)[0])
            shown.append((_preview(result), name))
            yield (shown, f"{len(shown)} of {parts.plural(len(images), 'photo')} done.",
                   gr.DownloadButton(interactive=False))
        if not saved:
            raise UserError(" ".join(problems))
        archive = parts.bundle(saved, own / "enhanced.zip")
        yield (shown, f"{parts.plural(len(saved), 'photo')} enhanced. {parts.as_text(' '.join(problems))}",
               gr.DownloadButton(value=archive, interactive=True))

    return enhance_many


def _preview(result: EnhancementResult) -> np.ndarray:
    """The enhanced photo as (H, W, 3) uint8, small enough for a gallery."""
    pixels = result.photo.preview(result.enhanced)
    step = max(1, max(pixels.shape[:2]) // 800)
    return np.ascontiguousarray(pixels[::step, ::step])


def _note(result: EnhancementResult, seconds: float) -> str:
    values = result.to_dict()
    return (f"Mean luminance {values['luminance_before']:.2f} before, {values['luminance_after']:.2f} after; "
            f"{values['clipped']:.1%} of the values newly at white. {seconds:.1f} s.")
