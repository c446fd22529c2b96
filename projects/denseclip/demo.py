"""The tab of the demo page: segmentation with any class names."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from clipapps.inference import load
from clipapps.projects.denseclip.inferencer import DenseCLIPInferencer, SegmentationResult
from clipapps.toyworld import CATEGORIES, SceneSpec, render, sample_scene
from clipapps.visualization.masks import overlay
from clipapps.web import parts
from clipapps.web.parts import answering, gr
from clipapps.web.tabs import train_panel

CONFIG = "denseclip/denseclip_fpn_tiny_toyworld"


@functools.lru_cache(maxsize=1)
def inferencer(names: tuple[str, ...]) -> DenseCLIPInferencer:
    """The training-free segmentor of these class names."""
    model = load("denseclip", classes=list(names) or None)
    assert isinstance(model, DenseCLIPInferencer)
    return model


def segment(image: np.ndarray, names: list[str]) -> SegmentationResult:
    """A picture segmented into classes; no names: the toy world's."""
    result = inferencer(tuple(names))(image)[0]
    assert isinstance(result, SegmentationResult)
    return result


def regions(result: SegmentationResult) -> list[tuple[np.ndarray, str]]:
    """(mask (H, W) of 0 and 1, class name) of every class in the picture, as gradio's annotated image takes them."""
    return [((result.mask == index).astype(np.uint8), result.class_names[index])
            for index in np.unique(result.mask).tolist()]


def facts(result: SegmentationResult) -> list[list[str]]:
    """Name, share, and mean confidence of every class, largest first."""
    return [[entry["name"], f"{entry['share']:.0%}", f"{entry['confidence']:.0%}"]
            for entry in result.to_dict()["classes"]]


def build_tab(folder: Path) -> None:
    """The tab's components and events; `folder` takes its example pictures."""
    scenes = [sample_scene(seed, 1, SceneSpec(min_objects=count, max_objects=count, group=0.0, backlit=0.0, dark=0.0))
              for seed, count in ((21, 2), (22, 3), (23, 4), (24, 4))]
    files = parts.example_files([(f"scene{number}", render(scene, 384).image)
                                 for number, scene in enumerate(scenes)], folder)
    gr.Markdown("A class for every pixel, for any names. Without weights of your own CLIP answers alone, "
                "training-free; the built-in one knows the toy world.", elem_classes="facts")
    with gr.Row():
        with gr.Column():
            image = parts.picture_input(value=files[1])
            names = gr.Textbox("", label="Class names, separated by commas (empty: the toy world's)",
                               placeholder=", ".join(CATEGORIES), max_length=parts.MAX_TEXT)
            opacity = gr.Slider(0, 1, 0.6, step=0.05, label="Opacity of the colors")
            button = gr.Button("Segment", variant="primary")
        with gr.Column():
            painted = gr.Image(label="Classes", interactive=False, height=384)
            classes = gr.AnnotatedImage(label="Point at a class, or click it, to see it alone", height=384)
    table = gr.Dataframe(headers=["class", "share", "confidence"], interactive=False, label="In the picture")
    note = gr.Markdown(elem_classes="facts")

    @answering
    def segment_picture(image: str, names: str, opacity: float
                        ) -> tuple[np.ndarray, tuple[np.ndarray, list[tuple[np.ndarray, str]]], list[list[str]], str]:
        """Semantic segmentation with any class names: painted picture, regions, shares, and a note."""
        result = segment(parts.picture(image), parts.names(names, least=0))
        unknown = f" The built-in CLIP never saw: {', '.join(result.unknown_words)}." if result.unknown_words else ""
        return (overlay(result.image, result.mask, result.palette, alpha=opacity), (result.image, regions(result)),
                facts(result), f"{result.method}.{unknown}")

    button.click(segment_picture, [image, names, opacity], [painted, classes, table, note], api_name="segment")
    gr.Examples([[file] for file in files], [image], label="Toy-world pictures")
    train_panel(CONFIG, about="DenseCLIP on the toy world: about two minutes on two CPU cores.")
