"""One page that is served for all tests here, a client of its API, and a browser where the machine has one."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]


@dataclass
class Page:
    """A served page: its address, the folder with its example files, and its blocks."""

    address: str
    folder: Path
    blocks: Any


@pytest.fixture(scope="session")
def page(tmp_path_factory):
    pytest.importorskip("gradio", reason="the demo needs gradio")
    from clipapps.demos import app

    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("cache")))
        served, address, _ = app.launch(prevent_thread_lock=True, folder=folder)
        yield Page(address, folder, served.get_blocks())
        served.get_blocks().close(verbose=False)


@pytest.fixture(scope="session")
def client(page):
    from gradio_client import Client

    client = Client(page.address, verbose=False)
    yield client
    client.close()


@pytest.fixture(scope="session")
def ask(client):
    """`ask("/classify", path, ...)`: what an endpoint answers; paths are uploaded."""
    from gradio_client import handle_file

    def upload(item: object) -> object:
        if isinstance(item, Path):
            return handle_file(item)
        return [upload(part) for part in item] if isinstance(item, list) else item

    def send(endpoint: str, *inputs: object) -> Any:
        return client.predict(*map(upload, inputs), api_name=endpoint)

    return send


@pytest.fixture(scope="session")
def chromium() -> str:
    """The system's Chromium or Chrome (CLIPAPPS_BROWSER names another); skips where there is none."""
    names = [os.environ.get("CLIPAPPS_BROWSER", ""), "chromium", "chromium-browser", "google-chrome"]
    found = next((path for path in map(shutil.which, filter(None, names)) if path), None)
    if found is None:
        pytest.skip("there is no Chromium on this machine (Debian: apt-get install chromium)")
    return found


@pytest.fixture(scope="module")
def browser(chromium, tmp_path_factory):
    """A headless browser with an empty profile."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        context = driver.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"), executable_path=chromium, headless=True, args=FLAGS,
            viewport={"width": 1280, "height": 900}, accept_downloads=True)
        yield context
        context.close()
