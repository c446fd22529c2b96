"""What the tabs of the page have in common: their layout, their models, and the panel that trains a project."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clipapps.project import get_project
from clipapps.visualization.curves import curve_groups
from clipapps.web import views
from clipapps.web.parts import answering, gr
from clipapps.web.training import Progress, TrainingRun
from clipapps.web.views import LAYERS_JS

#: runs that were started from this server and not yet closed, by the session that started them
_running: dict[str, TrainingRun] = {}
MAX_RUNS = 2
MODEL_QUEUE = "model"
"""`concurrency_id` of every event that computes: one after the other, for the machine has one memory."""


@dataclass
class Opening:
    """What a tab shows when it is looked at for the first time.

    Args:
        answer: computes the values, which is done once for all pages of a server.
        outputs: components that they go to.
    """

    answer: Callable[[], Sequence[Any]]
    outputs: Sequence[Any]
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _values: Sequence[Any] | None = field(default=None, repr=False)

    def values(self) -> Sequence[Any]:
        """The values; who asks meanwhile waits."""
        with self._lock:
            if self._values is None:
                self._values = self.answer()
            return self._values

    def show_at_first(self, event: Any) -> None:
        """Shows the values at the first of an event (`tab.select`, `page.load`); later ones change nothing."""
        is_open = gr.State(False)

        @answering
        def show(was_open: bool) -> tuple[Any, ...]:
            return True, *([gr.skip()] * len(self.outputs) if was_open else self.values())

        event(show, [is_open], [is_open, *self.outputs], queue=False, api_visibility="private")


def lead(words: str) -> None:
    """The sentence under a tab's name that says what it is for."""
    gr.Markdown(words, elem_classes="lead")


def facts(words: str = "") -> gr.Markdown:
    """A quiet line under an answer: model, seconds, and what to keep in mind."""
    return gr.Markdown(words, elem_classes="facts")


def answer_view(value: str, **options: Any) -> gr.HTML:
    """A card for one of the `clipapps.web.views`."""
    return gr.HTML(value, js_on_load=LAYERS_JS, elem_classes="answer", container=True, show_label=True,
                   **options)


def examples(rows: Sequence[Sequence[Any]], inputs: Sequence[Any], outputs: Sequence[Any], function: Any,
             label: str = "Examples") -> None:
    """Examples that are answered when they are clicked; nothing is kept, so that new weights give new answers."""
    gr.Examples([list(row) for row in rows], list(inputs), list(outputs), function, run_on_click=True,
                cache_examples=False, label=label, visible_columns=[0])


def shipped_models(project: str) -> dict[str, Path]:
    """Weights that ship with a project and are there: name -> file."""
    record = get_project(project)
    files = {name: record.shipped_weights(name) for name in record.weights}
    return {name: file for name, file in files.items() if file is not None and file.is_file()}


def train_panel(config: str, *, overrides: tuple[str, ...] = (), about: str = "") -> None:
    """"Train it yourself": starts a shipped config in a process of its own, with live curves and pictures.

    Args:
        config: name of a config that runs offline; overrides: as on the command line.
        about: what it does and how long it takes, one sentence.
    """
    api = "train_" + config.split("/")[0]
    with gr.Accordion("Train it yourself", open=False, elem_classes="train"):
        facts(about)
        gr.Textbox(TrainingRun(config, overrides).command_line, label="The same on the command line", interactive=False,
                   buttons=["copy"], elem_classes="command")
        with gr.Row(elem_classes="buttons"):
            start = gr.Button("Start training", variant="primary")
            stop = gr.Button("Stop", variant="stop")
        status = gr.Markdown("Not started.")
        with gr.Row():
            loss = answer_view("", label="Loss", visible=False)
            metric = answer_view("", label="Validation", visible=False)
        pictures = gr.Gallery(label="Pictures of the run", columns=2, height="auto", object_fit="contain",
                              visible=False)

    @answering
    def train(request: gr.Request) -> Iterator[tuple[Any, ...]]:
        """Trains this project's tiny config; yields status, two curves, and pictures until it ends."""
        session = str(request.session_hash)
        _close(session)
        if len(_running) >= MAX_RUNS:
            raise gr.Error(f"{MAX_RUNS} trainings are running on this server. Wait for one to end, or run the command "
                           "yourself.", print_exception=False)
        run = _running[session] = TrainingRun(config, overrides)
        try:
            run.start()
            for now in run.watch():
                yield _shown(now)
        finally:
            if _running.get(session) is run:
                _close(session)

    @answering
    def end(request: gr.Request) -> str:
        """Stops the training of this page; it saves first."""
        run = _running.get(str(request.session_hash))
        if run is None:
            return "Nothing is running."
        run.stop()
        return "Stopping."

    start.click(train, outputs=[status, loss, metric, pictures], api_name=api, concurrency_limit=MAX_RUNS,
                show_progress="hidden")
    stop.click(end, outputs=[status], api_name=f"stop_{api}", queue=False, show_progress="hidden")


def _shown(now: Progress) -> tuple[Any, ...]:
    groups = dict(curve_groups(now.records))
    plots = [gr.HTML(views.curves(title, groups[title]), visible=True) if title in groups else gr.HTML(visible=False)
             for title in ("loss", "validation")]
    return now.status, *plots, gr.Gallery(now.pictures, visible=bool(now.pictures))


def close_runs(request: gr.Request) -> None:
    """End what a page that was closed had started."""
    _close(str(request.session_hash))


def _close(session: str) -> None:
    run = _running.pop(session, None)
    if run is not None:
        run.close()
