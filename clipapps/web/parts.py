"""The one place that imports gradio: uploads within limits, errors as sentences, and components set the same way."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np

from clipapps.data.images import read_image
from clipapps.errors import BadSampleError, ClipAppsError, UserError

try:
    import gradio as gr
except ModuleNotFoundError as error:
    if error.name != "gradio":
        raise
    raise UserError('The demo needs gradio: pip install "clipapps[demo]".') from error

__all__ = ["answering", "example_files", "gr", "names", "picture", "picture_input"]

P = ParamSpec("P")
T = TypeVar("T")

#: width times height of an uploaded picture, read from its header before anything is decoded
MAX_UPLOAD_PIXELS = 24_000_000
MAX_UPLOAD_BYTES = 32 * 1024 * 1024
MAX_TEXT = 4000
MAX_NAMES = 100
MAX_NAME = 100
FAULT_OF_OURS = "Something failed on our side; the server's log says what. Try another input, or reload the page."


@contextlib.contextmanager
def _as_sentences(name: str) -> Iterator[None]:
    try:
        yield
    except gr.Error:
        raise
    except ClipAppsError as error:
        raise gr.Error(str(error), print_exception=False) from error
    except Exception as error:
        logging.getLogger("clipapps").exception("The demo's %s failed.", name)
        raise gr.Error(FAULT_OF_OURS, print_exception=False) from error


def answering(function: Callable[P, T]) -> Callable[P, T]:
    """An event handler, also a generator, whose errors reach the page as one sentence without paths or internals."""
    @functools.wraps(function)
    def handler(*args: P.args, **kwargs: P.kwargs) -> T:
        with _as_sentences(function.__name__):
            return function(*args, **kwargs)

    @functools.wraps(function)
    def generator(*args: P.args, **kwargs: P.kwargs) -> Any:
        with _as_sentences(function.__name__):
            yield from function(*args, **kwargs)  # type: ignore[misc]

    return generator if inspect.isgeneratorfunction(function) else handler


def picture(path: str | None) -> np.ndarray:
    """An uploaded picture as (H, W, 3) uint8 RGB.

    Raises:
        BadSampleError: none was chosen, it is no picture, or it is too large; the message names no file of the server.
    """
    if not path:
        raise BadSampleError("Choose a picture first, or click one of the examples.")
    try:
        return read_image(path, max_pixels=MAX_UPLOAD_PIXELS)
    except BadSampleError as error:
        raise BadSampleError(str(error).replace(str(path), "This file")) from error


def names(text: str | None, *, least: int = 1) -> list[str]:
    """Names between commas, of bounded number and length.

    Raises:
        UserError: too few, too many, or too long.

    >>> names("a red star, a cup, a cup")
    ['a red star', 'a cup']
    """
    if len(text or "") > MAX_TEXT:
        raise UserError(f"That text has {len(text or ''):,} characters; at most {MAX_TEXT:,} are read here.")
    found = list(dict.fromkeys(name.strip() for name in (text or "").replace("\n", ",").split(",") if name.strip()))
    if len(found) < least:
        raise UserError(f"Write at least {least} name{'s' if least > 1 else ''}, separated by commas.")
    if len(found) > MAX_NAMES or any(len(name) > MAX_NAME for name in found):
        raise UserError(f"At most {MAX_NAMES} names of {MAX_NAME} characters each.")
    return found


def picture_input(label: str = "Picture", **options: Any) -> gr.Image:
    """An upload field that hands on the file's path, for `picture`.

    gradio itself would decode the file before any limit of ours, and answer a wrong one with its own internals.
    """
    settings = {"type": "filepath", "sources": ["upload", "webcam", "clipboard"], "height": 320, **options}
    field = gr.Image(label=label, **settings)
    # Not a subclass: gradio takes those for third-party components, with files of their own for the browser.
    field.preprocess = lambda payload: payload.path if payload is not None else None  # type: ignore[method-assign]
    return field


def example_files(pictures: Sequence[tuple[str, np.ndarray]], folder: Path) -> list[str]:
    """Writes example pictures (name, (H, W, 3) uint8 RGB) as PNG files; returns their paths."""
    from clipapps.data.images import write_image

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png" for name, _ in pictures]
    for path, (_, image) in zip(paths, pictures, strict=True):
        write_image(path, image)
    return [str(path) for path in paths]
