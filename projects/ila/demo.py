"""The tab of the demo page: what happens in a video, with the frames that were looked at and a timeline."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clipapps.data.video.writing import write_video
from clipapps.engine.run_config import pick_device
from clipapps.inference import load
from clipapps.projects.ila.inferencer import ILAInferencer, VideoResult
from clipapps.toyworld.motions import MOTIONS, sample_motion
from clipapps.web import parts, tabs, views
from clipapps.web.parts import answering, gr
from clipapps.web.tabs import MODEL_QUEUE, shipped_models, train_panel

TITLE = "ILA"
ZERO_SHOT = "CLIP alone, zero-shot"
CONFIG = "ila/ila_tiny_toyworld"
TRAINING = ("train_cfg.val_interval=48", "val_dataloader.dataset.num_videos=56")  # so that curves come in between
FILMS = {"three_motions": ("moves right", "grows", "disappears"), "moves_left": ("moves left",),
         "appears": ("appears",), "passes_through": ("passes through",)}
FPS, SECONDS, SIDE = 16, 2.0, 192
Answer = tuple[dict[str, float], str, Any, str, str, dict[str, Any]]


@functools.lru_cache(maxsize=1)
def inferencer(model: str, names: tuple[str, ...]) -> ILAInferencer:
    """A model of the list, for these class names; none: those it was trained with, or the toy world's motions."""
    if model == ZERO_SHOT:
        return ILAInferencer(device=pick_device("auto"), classes=list(names or MOTIONS))
    found = load("ila", parts.chosen(model, shipped_models("ila")), classes=list(names) or None)
    assert isinstance(found, ILAInferencer)
    return found


def recognize(path: Path, names: list[str], model: str, seconds: float,
              progress: Callable[[float], Any] | None = None) -> VideoResult:
    """What happens in a video; `seconds` are judged at once."""
    judge = inferencer(model, tuple(names))
    judge.window, judge.progress = seconds, progress
    result = judge(path)[0]
    assert isinstance(result, VideoResult)
    return result


def timeline(result: VideoResult) -> str:
    """The best classes over the windows of a video; empty when there is one window alone."""
    if len(result.windows) < 2:
        return ""
    names = [name for name, _ in result.best()]
    rows = [(name, [float(window.scores[result.class_names.index(name)]) for window in result.windows])
            for name in names]
    return views.heat_table(rows, [f"{window.start:.0f}-{window.end:.0f} s" for window in result.windows], percent=True)


def answer(path: Path, names: list[str], model: str, seconds: float, folder: Path,
           progress: Callable[[float], Any] | None = None) -> Answer:
    """What the tab shows: top five, frames, timeline, a line of facts, an archive of files, and plain values."""
    began = time.monotonic()
    result = recognize(path, names, model, seconds, progress)
    took, table = time.monotonic() - began, timeline(result)
    result.name = "video"
    own = parts.fresh_folder(folder)
    archive = parts.bundle(result.save(own), own / "ila.zip")
    note = (f"{result.method}, {took:.1f} s. The frames are those of the surest window."
            f"{parts.unknown_words(result.unknown_words)}")
    return (dict(result.best()), views.film_strip(result.shown.frames, result.shown.times, result.points),
            gr.HTML(table, visible=bool(table)), note, archive, result.to_dict())


def examples(folder: Path) -> list[str]:
    """Films of the toy world as video files: three motions one after the other, and one each."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, (name, motions) in enumerate(FILMS.items()):
        films = [sample_motion(7 + number, part, MOTIONS.index(motion)) for part, motion in enumerate(motions)]
        frames = [frame for film in films for frame in film.frames(round(SECONDS * FPS), SIDE)]
        paths.append(folder / f"{name}.mp4")
        write_video(paths[-1], frames, FPS)
    return [str(path) for path in paths]


def build_tab(folder: Path) -> tabs.Opening:
    """The tab's components and events, and what it opens with; `folder` takes its example films."""
    files = examples(folder)
    models = [*shipped_models("ila"), ZERO_SHOT]
    tabs.lead("What happens in a video. The built-in models know the fourteen motions of the toy world's objects.")
    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            video = parts.video_input(value=files[0])
            model = parts.choice_input("Model", models, visible=len(models) > 1)
            names = gr.Textbox("", label="Class names", info="Separated by commas. Empty: those the model knows.",
                               placeholder=", ".join(MOTIONS[:6]) + ", ...")
            seconds = gr.Slider(1, 10, SECONDS, step=1, label="Seconds judged at once")
            with gr.Row(elem_classes="buttons"):
                button = gr.Button("Recognize", variant="primary")
                save = gr.DownloadButton("Save result")
        with gr.Column(scale=6, min_width=320):
            best = gr.Label(label="Best five", num_top_classes=5)
            strip = tabs.answer_view("", label="Frames")
            times = tabs.answer_view("", label="Timeline", visible=False)
            note = tabs.facts()
    values = gr.JSON(visible=False)
    recognize_video, outputs = _handler(folder), [best, strip, times, note, save, values]
    gr.on([button.click, names.submit, model.change, seconds.release], recognize_video, [video, names, model, seconds],
          outputs, api_name="recognize", concurrency_id=MODEL_QUEUE, show_progress_on=[best])
    tabs.examples([[file] for file in files], [video], outputs,
                  lambda video: recognize_video(video, "", models[0], SECONDS), "Films of the toy world")
    train_panel(CONFIG, overrides=TRAINING, about="ILA on the toy world: about ten minutes of one CPU core.")
    return tabs.Opening(lambda: answer(Path(files[0]), [], models[0], SECONDS, folder / "opening"), outputs)


def _handler(folder: Path) -> Callable[..., Answer]:
    @answering
    def recognize_video(video: str, names: str, model: str = ZERO_SHOT, seconds: float = SECONDS,
                        progress: gr.Progress = gr.Progress()) -> Answer:  # noqa: B008 (gradio finds it by its default)
        """Recognizes what happens in a video: best five, frames, timeline, note, archive of files, and facts."""
        return answer(parts.video(video), parts.names(names, least=0), model, seconds, folder, progress)

    return recognize_video
