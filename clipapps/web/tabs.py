"""What a tab is, and the panel that trains a project from the page."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from clipapps.web.parts import answering, gr
from clipapps.web.training import TrainingRun

#: runs that were started from this server and not yet closed, by the session that started them
_running: dict[str, TrainingRun] = {}
MAX_RUNS = 2


def train_panel(config: str, *, overrides: tuple[str, ...] = (), about: str = "") -> None:
    """"Train it yourself": starts a shipped config in a process of its own, with a live curve and pictures.

    Args:
        config: name of a config that runs offline; overrides: as on the command line.
        about: what it does and how long it takes, one sentence.
    """
    api = "train_" + config.split("/")[0]
    command = TrainingRun(config, overrides).command_line
    with gr.Accordion("Train it yourself", open=False):
        gr.Markdown(about)
        gr.Code(command, language="shell", label="The same on the command line", interactive=False, lines=1)
        with gr.Row():
            start = gr.Button("Start training", variant="primary")
            stop = gr.Button("Stop", variant="stop")
        status = gr.Markdown("Not started.")
        curve = gr.HTML(visible=False)
        pictures = gr.Gallery(label="Pictures of the run", columns=4, height="auto", visible=False)

    @answering
    def train(request: gr.Request) -> Iterator[tuple[str, object, object]]:
        """Trains this project's tiny config; yields status, curve, and pictures until it ends."""
        session = str(request.session_hash)
        _close(session)
        if len(_running) >= MAX_RUNS:
            raise gr.Error(f"{MAX_RUNS} trainings are running on this server. Wait for one to end, or run the command "
                           "yourself.", print_exception=False)
        run = _running[session] = TrainingRun(config, overrides)
        try:
            run.start()
            for now in run.watch():
                yield (now.status, gr.HTML(_image(now.curve), visible=now.curve is not None),
                       gr.Gallery(now.pictures, visible=bool(now.pictures)))
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

    start.click(train, outputs=[status, curve, pictures], api_name=api, concurrency_limit=MAX_RUNS,
                show_progress="hidden")
    stop.click(end, outputs=[status], api_name=f"stop_{api}", queue=False)


def close_runs(request: gr.Request) -> None:
    """End what a page that was closed had started."""
    _close(str(request.session_hash))


def _close(session: str) -> None:
    run = _running.pop(session, None)
    if run is not None:
        run.close()


def _image(png: bytes | None) -> str:
    if png is None:
        return ""
    return f'<img alt="Losses and metrics over the steps" src="data:image/png;base64,{base64.b64encode(png).decode()}">'
