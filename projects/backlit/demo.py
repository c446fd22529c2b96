"""The tab of the demo page: a photo against the light, before and after."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import numpy as np
from skimage import data as photos

from clipapps.inference import load
from clipapps.projects.backlit.backlighting import backlight
from clipapps.projects.backlit.inferencer import BacklitInferencer, EnhancementResult
from clipapps.web import parts
from clipapps.web.parts import answering, gr
from clipapps.web.tabs import train_panel

CONFIG = "backlit/rave_tiny_toyworld"
PHOTOS = {"coffee": 4, "rocket": 0, "chelsea": 1}  # CC0, shipped by scikit-image; the seed that puts each into shade
HIGHEST_GAIN = 8


@functools.lru_cache(maxsize=4)
def inferencer(strength: float, max_gain: float, protect_highlights: bool) -> BacklitInferencer:
    """The shipped network with these settings."""
    model = load("backlit", strength=strength, max_gain=max_gain, protect_highlights=protect_highlights)
    assert isinstance(model, BacklitInferencer)
    return model


def enhance_file(path: str, strength: float, max_gain: float, protect_highlights: bool) -> EnhancementResult:
    """A photo's file, with its metadata, enhanced."""
    parts.picture(path)  # the page's own limits, and its words for what is no picture
    result = inferencer(strength, max_gain, protect_highlights)(path)[0]
    assert isinstance(result, EnhancementResult)
    return result


def in_the_shade(name: str, seed: int) -> np.ndarray:
    """A free photo, backlit by computation, (H, W, 3) uint8 RGB."""
    return backlight(np.asarray(getattr(photos, name)())[..., :3], np.random.default_rng(seed)).backlit


def build_tab(folder: Path) -> None:
    """The tab's components and events; `folder` takes its example photos."""
    files = parts.example_files([(name, in_the_shade(name, seed)) for name, seed in PHOTOS.items()], folder)
    gr.Markdown("Photos whose subject is dark because the light is behind it. Weights of our own, trained on free "
                "photos; no CLIP is needed for this.", elem_classes="facts")
    with gr.Row():
        with gr.Column():
            image = parts.picture_input("Photo", value=files[0])
            strength = gr.Slider(0, 1, 1, step=0.05, label="Strength")
            max_gain = gr.Slider(1, HIGHEST_GAIN, HIGHEST_GAIN, step=0.5, label="Brighten at most by this factor")
            protect = gr.Checkbox(False, label="Protect highlights: cut no color off at white")
            button = gr.Button("Enhance", variant="primary")
        with gr.Column():
            slider = gr.ImageSlider(label="Before | after", interactive=False, max_height=420)
            file = gr.File(label="The photo in its own format, with its metadata", interactive=False)
    note = gr.Markdown(elem_classes="facts")

    @answering
    def enhance_photo(image: str, strength: float, max_gain: float, protect: bool
                      ) -> tuple[tuple[np.ndarray, np.ndarray], str, str]:
        """Enhances a backlit photo: (before, after), the file, and a note."""
        result = enhance_file(image, strength, max_gain, protect)
        saved, _ = result.save(tempfile.mkdtemp(dir=folder))
        facts = result.to_dict()
        return ((result.image, result.photo.preview(result.enhanced)), str(saved),
                f"Mean luminance {facts['luminance_before']:.2f} before, {facts['luminance_after']:.2f} after; "
                f"{facts['clipped']:.1%} of the values newly at white.")

    button.click(enhance_photo, [image, strength, max_gain, protect], [slider, file, note], api_name="enhance")
    gr.Examples([[file] for file in files], [image], label="Free photos, put into shade")
    train_panel(CONFIG, about="RAVE on the toy world: one to two minutes on one CPU core.")
