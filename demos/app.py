"""The demo page: a playground for the shared CLIP, and a tab for every installed project that has one."""

from __future__ import annotations

import atexit
import logging
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clipapps import __version__
from clipapps.demos import playground
from clipapps.demos.theme import CSS, JS, header, theme
from clipapps.engine.run_config import pick_device
from clipapps.errors import UserError, did_you_mean
from clipapps.project import Project, discover
from clipapps.web import parts
from clipapps.web.parts import gr
from clipapps.web.tabs import Opening, close_runs

TITLE = "clipapps"
TAGLINE = "One CLIP backbone, many tasks. Everything runs on this machine; nothing is sent anywhere."
_CACHE = (600, 3600)  # seconds: how often, and how old a file of the cache may become
_QUEUE = 20
_SESSIONS = 200  # kept for an hour after they end, at a third of a megabyte each; gradio's default is 10,000


def projects_with_a_tab() -> dict[str, Project]:
    """Installed projects that ship a tab."""
    return {name: record for name, record in discover().items() if isinstance(record, Project) and record.demo}


def build(folder: str | Path, project: str | None = None) -> tuple[gr.Blocks, list[Opening]]:
    """The page, and what its tabs open with, which is not computed yet.

    Args:
        folder: takes the example pictures.
        project: only this project's tab; None: all, and the playground.

    Raises:
        UserError: no such project, or it has no tab.
    """
    tabs = projects_with_a_tab()
    if project is not None and project not in tabs:
        raise UserError(f"There is no demo of {project!r}.{did_you_mean(project, tabs)} With a tab of their own: "
                        f"{', '.join(tabs)}.")
    folder = Path(folder)
    openings: list[Opening] = []
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=_CACHE) as page:
        gr.HTML(header(TITLE, TAGLINE, f"version {__version__}, on {pick_device('auto').type.upper()}"), elem_id="head")
        with gr.Tabs(elem_id="tabs"):
            if project is None:
                with gr.Tab("CLIP playground", id="playground"):
                    playground.build_tab(folder / "playground")
            for name, record in tabs.items():
                if project in (None, name):
                    openings += _project_tab(page, name, record, folder / name, is_first=project is not None)
        page.unload(close_runs)
    return page, openings


def _project_tab(page: gr.Blocks, name: str, record: Project, folder: Path, *, is_first: bool
                 ) -> list[Opening]:
    """A project's tab, under the `TITLE` of the module that builds it; returns what it opens with, if anything."""
    build_tab = record.part("demo")
    with gr.Tab(getattr(sys.modules[build_tab.__module__], "TITLE", name), id=name) as tab:
        opening = build_tab(folder)
        if opening is None:
            return []
        opening.show_at_first(page.load if is_first else tab.select)
        return [opening]


def launch(project: str | None = None, *, host: str = "127.0.0.1", port: int | None = None,
           folder: str | Path | None = None, **options: Any) -> Any:
    """Serve the page; blocks until interrupted, unless `prevent_thread_lock=True`.

    Args:
        project, host, port: as `clipapps demo` takes them.
        folder: takes the example files; None: a temporary one.
        options: of gradio's `launch`.
    """
    if folder is None:
        temporary = tempfile.TemporaryDirectory(prefix="clipapps-demo-")
        atexit.register(temporary.cleanup)
        folder = temporary.name
    page, openings = build(folder, project)
    threading.Thread(target=_prepare, args=(openings,), daemon=True).start()
    return page.queue(max_size=_QUEUE, default_concurrency_limit=1).launch(**{
        "server_name": host, "server_port": port, "share": False, "theme": theme(), "css": CSS, "js": JS,
        # Errors of ours are sentences and shown in any case; this would show the framework's, with paths in them.
        "show_error": False, "max_file_size": parts.MAX_UPLOAD_BYTES, "strict_cors": True, "mcp_server": False,
        "state_session_capacity": _SESSIONS, "ssr_mode": False, "quiet": True,
        "footer_links": ["api", "settings"], **options})


def _prepare(openings: Sequence[Opening]) -> None:
    """Computes what the tabs open with while the page is being looked at."""
    for opening in openings:
        try:
            opening.values()
        except Exception:  # the page says so when the tab is opened
            logging.getLogger("clipapps").debug("A tab's opening failed.", exc_info=True)
