"""The tab of the demo page: segmentation with any class names, and boxes and masks where a detector ships."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from clipapps.engine.run_config import pick_device
from clipapps.inference import Inferencer, Result, load
from clipapps.projects.denseclip.detection.inferencer import DetectionResult
from clipapps.projects.denseclip.inferencer import DenseCLIPInferencer, SegmentationResult
from clipapps.toyworld import CATEGORIES, SceneSpec, render, sample_scene
from clipapps.web import parts, tabs, views
from clipapps.web.parts import answering, gr
from clipapps.web.tabs import MODEL_QUEUE, shipped_models, train_panel

TITLE = "DenseCLIP"
TRAINING_FREE = "CLIP alone, training-free"
CONFIG = "denseclip/denseclip_fpn_tiny_toyworld"
TRAINING = ("train_cfg.val_interval=60", "val_dataloader.dataset.num_scenes=64")  # so that pictures come in between
BACKGROUND = "background"
Answer = tuple[str, str, str, dict[str, Any]]


@functools.lru_cache(maxsize=1)
def inferencer(model: str, names: tuple[str, ...]) -> Inferencer:
    """A model of the list, for these class names; none: those it was trained with, or the toy world's."""
    if model == TRAINING_FREE:
        return DenseCLIPInferencer(device=pick_device("auto"), classes=list(names) or None)
    return load("denseclip", parts.chosen(model, shipped_models("denseclip")), classes=list(names) or None)


def segment(image: np.ndarray, names: list[str], model: str = TRAINING_FREE) -> Result:
    """A picture segmented into classes, or the objects in it, as the model has it."""
    return inferencer(model, tuple(names))(image)[0]


def class_layers(result: SegmentationResult) -> list[views.Layer]:
    """The classes of a segmented picture, the largest first; the background comes last."""
    entries = sorted(result.to_dict()["classes"], key=lambda entry: entry["name"] == BACKGROUND)
    return [views.Layer(entry["name"], color_of(result, entry["index"]), f"{entry['share']:.0%}",
                        result.mask == entry["index"]) for entry in entries]


def object_layers(result: DetectionResult) -> list[views.Layer]:
    """The objects of a picture, those of one class in one layer."""
    found, layers = result.instances, []
    for label in sorted(set(found.labels.tolist())):
        chosen = np.flatnonzero(found.labels == label)
        scores = np.ones(len(found.labels)) if found.scores is None else found.scores
        boxes = [(*found.boxes[index].tolist(), f"{result.class_names[label]} {scores[index]:.2f}") for index in chosen]
        mask = None if found.masks is None else found.masks[chosen].astype(bool).any(axis=0)
        layers.append(views.Layer(result.class_names[label], color_of(result, label), f"{len(chosen)}", mask, boxes))
    return layers


def color_of(result: SegmentationResult | DetectionResult, label: int) -> tuple[int, int, int]:
    """The color of a class."""
    red, green, blue = (int(value) for value in result.palette[label])
    return red, green, blue


def answer(image: np.ndarray, names: list[str], model: str, folder: Path) -> Answer:
    """What the tab shows: the view, a line of facts, an archive of the result's files, and plain values."""
    began = time.monotonic()
    result = segment(image, names, model)
    seconds = time.monotonic() - began
    result.name = "denseclip"
    own = parts.fresh_folder(folder)
    archive = parts.bundle(result.save(own), own / "denseclip.zip")
    if isinstance(result, DetectionResult):
        return (views.layers(image, object_layers(result), "No object above the score."),
                f"{result.method}, {seconds:.1f} s. Numbers are scores from 0 to 1.", archive, result.to_dict())
    assert isinstance(result, SegmentationResult)
    return (views.layers(image, class_layers(result)),
            f"{result.method}, {seconds:.1f} s.{parts.unknown_words(result.unknown_words)}", archive, result.to_dict())


def examples(folder: Path) -> list[str]:
    """Pictures of the toy world."""
    scenes = [sample_scene(seed, 0, SceneSpec(min_objects=count, max_objects=count, group=0.0, backlit=0.0, dark=0.0))
              for seed, count in ((8, 3), (21, 2), (34, 3), (55, 4))]
    return parts.example_files([(f"scene{number}", render(scene, 384).image)
                                for number, scene in enumerate(scenes)], folder)


def build_tab(folder: Path) -> tabs.Opening:
    """The tab's components and events, and what it opens with; `folder` takes its example pictures."""
    files = examples(folder)
    models = [*shipped_models("denseclip"), TRAINING_FREE]
    tabs.lead("A class for every pixel, for any names you write. The built-in CLIP is tiny and knows the toy world.")
    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            image = parts.picture_input(value=files[3])
            model = parts.choice_input("Model", models, visible=len(models) > 1)
            names = gr.Textbox("", label="Class names", info="Separated by commas. Empty: those the model knows.",
                               placeholder=", ".join(CATEGORIES))
            with gr.Row(elem_classes="buttons"):
                button = gr.Button("Segment", variant="primary")
                save = gr.DownloadButton("Save result")
        with gr.Column(scale=6, min_width=320):
            view = tabs.answer_view("", label="Classes")
            note = tabs.facts()
    values = gr.JSON(visible=False)
    segment_picture, outputs = _handler(folder), [view, note, save, values]
    gr.on([button.click, names.submit, model.change], segment_picture, [image, names, model], outputs,
          api_name="segment", concurrency_id=MODEL_QUEUE, show_progress_on=[view])
    tabs.examples([[file] for file in files], [image],
                  outputs, lambda image: segment_picture(image, "", models[0]), "Toy-world pictures")
    train_panel(CONFIG, overrides=TRAINING, about="DenseCLIP on the toy world: about two minutes on two CPU cores.")
    return tabs.Opening(lambda: answer(parts.picture(files[3]), [], models[0], folder / "opening"), outputs)


def _handler(folder: Path) -> Callable[..., Answer]:
    @answering
    def segment_picture(image: str, names: str, model: str = TRAINING_FREE) -> Answer:
        """Segments a picture into any classes: view, note, archive of files, and facts."""
        return answer(parts.picture(image), parts.names(names, least=0), model, folder)

    return segment_picture
