"""The demo page: a playground for the shared CLIP, and a tab for every installed project that has one."""

from __future__ import annotations

import atexit
import tempfile
from pathlib import Path
from typing import Any

from clipapps.demos import playground
from clipapps.demos.theme import CSS, theme
from clipapps.errors import UserError, did_you_mean
from clipapps.project import Project, discover
from clipapps.web import parts
from clipapps.web.parts import gr
from clipapps.web.tabs import close_runs

TITLE = "clipapps"
_CACHE = (600, 3600)  # seconds: how often, and how old a file of the cache may become
_QUEUE = 20


def projects_with_a_tab() -> dict[str, Project]:
    """Installed projects that ship a tab."""
    return {name: record for name, record in discover().items() if isinstance(record, Project) and record.demo}


def build(folder: str | Path, project: str | None = None) -> gr.Blocks:
    """The page.

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
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=_CACHE) as page:
        gr.Markdown("# clipapps\nOne CLIP backbone, many tasks. Everything here runs on this machine, offline.",
                    elem_id="head")
        if project is None:
            with gr.Tab("CLIP playground", id="playground"):
                playground.build_tab(folder / "playground")
        for name, record in tabs.items():
            if project in (None, name):
                with gr.Tab(name, id=name):
                    record.part("demo")(folder / name)
        page.unload(close_runs)
    return page


def launch(project: str | None = None, *, host: str = "127.0.0.1", port: int | None = None, **options: Any) -> Any:
    """Serve the page; blocks until interrupted, unless `prevent_thread_lock=True`."""
    examples = tempfile.TemporaryDirectory(prefix="clipapps-demo-")
    atexit.register(examples.cleanup)
    page = build(examples.name, project).queue(max_size=_QUEUE, default_concurrency_limit=1)
    return page.launch(**{
        "server_name": host, "server_port": port, "share": False, "theme": theme(), "css": CSS,
        "max_file_size": parts.MAX_UPLOAD_BYTES, "show_error": True, "strict_cors": True, "mcp_server": False,
        "ssr_mode": False, "quiet": True, "footer_links": ["api", "settings"], **options})
