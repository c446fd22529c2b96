"""The one place that imports gradio: uploads within limits, errors as sentences, and components set the same way."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import re
import shutil
import tempfile
import time
import zipfile
from abc import ABCMeta
from collections.abc import Callable, Collection, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np

from clipapps.data.images import read_image, write_image
from clipapps.data.video import VideoReader
from clipapps.errors import BadSampleError, ClipAppsError, UserError

try:
    import gradio as gr
except ModuleNotFoundError as error:
    if error.name != "gradio":
        raise
    raise UserError('The demo needs gradio: pip install "clipapps[demo]".') from error

__all__ = ["answering", "as_text", "bundle", "choice_input", "chosen", "example_files", "files_input", "fresh_folder",
           "gr", "in_time", "names", "picture", "picture_input", "plural", "unknown_words", "video", "video_input"]

P = ParamSpec("P")
T = TypeVar("T")

#: width times height of an uploaded picture, read from its header before anything is decoded
MAX_UPLOAD_PIXELS = 24_000_000
MAX_UPLOAD_BYTES = 32 * 1024 * 1024
#: of an uploaded video, from its header and its packets, before it is decoded
MAX_FRAMES, MAX_SECONDS, MAX_FRAME_SIDES = 300, 60.0, (1920, 1080)
KEPT_SECONDS = 600.0
#: seconds that an answer which shows its progress may take
TIME_LIMIT = 300.0
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
        raise gr.Error(escape(str(error), quote=False), print_exception=False) from error  # shown as HTML
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


def in_time(steps: Iterator[T], seconds: float | None = None) -> Iterator[T]:
    """The steps of a long answer, as long as it has time.

    Raises:
        UserError: it took longer than `seconds`, by default `TIME_LIMIT`.
    """
    limit = TIME_LIMIT if seconds is None else seconds
    end = time.monotonic() + limit
    for step in steps:
        yield step
        if time.monotonic() > end:
            raise UserError(f"This took longer than {limit:.0f} s and was ended. Try less at once, or the command "
                            "line, which has no limit.")


def picture(path: str | None) -> np.ndarray:
    """An uploaded picture as (H, W, 3) uint8 RGB.

    Raises:
        BadSampleError: none was chosen, it is no picture, or it is too large; the message names no file of the server.
    """
    if not path:
        raise BadSampleError("Choose a picture first, or click one of the examples.")
    with without_path(path):
        return read_image(path, max_pixels=MAX_UPLOAD_PIXELS)


def video(path: str | None) -> Path:
    """An uploaded video that may be decoded: its header and packets were read, and it is within the limits.

    Raises:
        BadSampleError: none was chosen, it is no video, or it is too long or too large; no file is named.
    """
    if not path:
        raise BadSampleError("Choose a video first, or click one of the examples.")
    with without_path(path), VideoReader(path, max_pixels=MAX_FRAME_SIDES[0] * MAX_FRAME_SIDES[1]) as reader:
        seconds, sides = reader.duration, sorted(reader.size, reverse=True)
        frames = round(seconds * reader.fps)
        is_long = seconds > MAX_SECONDS or frames > 1.02 * MAX_FRAMES  # headers round
        if not is_long:
            frames = len(reader)
        if is_long or frames > MAX_FRAMES or sides[0] > MAX_FRAME_SIDES[0] or sides[1] > MAX_FRAME_SIDES[1]:
            raise BadSampleError(
                f"This video has {frames:,} frames of {sides[0]} x {sides[1]} pixels in {seconds:.1f} s; here it may "
                f"have {MAX_FRAMES} frames, {MAX_SECONDS:.0f} s and {MAX_FRAME_SIDES[0]} x {MAX_FRAME_SIDES[1]} "
                "pixels. Cut a part out, or use the command line, which has no such limits.")
    return Path(path)


@contextlib.contextmanager
def without_path(path: str | Path) -> Iterator[None]:
    """What is said of an upload inside calls it "This file", never by its place on the server."""
    try:
        yield
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


def as_text(words: str) -> str:
    """Words of a user's for a place that takes Markdown: as they are, and never a link, a picture or a tag.

    >>> as_text("![<b>](x)")
    '\\\\!\\\\[&lt;b&gt;\\\\]\\\\(x\\\\)'
    """
    return re.sub(r"([\\`*_\[\]()#!|~])", r"\\\1", escape(words, quote=False))


def unknown_words(words: Sequence[str], what: str = "The built-in CLIP never saw") -> str:
    """A sentence about words that a model does not know, empty when there are none.

    >>> unknown_words(["moon"])
    ' The built-in CLIP never saw: moon.'
    """
    return f" {what}: {as_text(', '.join(words))}." if words else ""


def plural(count: int, noun: str) -> str:
    """A number with its noun.

    >>> plural(1, "photo"), plural(3, "photo")
    ('1 photo', '3 photos')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _as_it_came(kind: Any) -> Any:
    """The component class, but its values are handed on unseen: of uploads the paths, which nobody has opened yet.

    gradio itself would decode, check or copy files before any limit of ours, and answer what is wrong with its own
    internals. A method of an instance would not do: gradio builds components anew when an example fills them.
    """
    def preprocess(self: Any, payload: Any) -> Any:
        if hasattr(payload, "path"):
            return payload.path
        return [file.path for file in payload] if hasattr(payload, "root") else payload

    # Past gradio's metaclass, which would write a stub file beside this one; a template stays what it is made from.
    return ABCMeta.__new__(type(kind), kind.__name__, (kind,),
                           {"preprocess": preprocess, "is_template": True, "__module__": __name__})


_PictureField, _VideoField, _FilesField, _ChoiceField = map(_as_it_came, (gr.Image, gr.Video, gr.File, gr.Dropdown))


def picture_input(label: str = "Picture", **options: Any) -> gr.Image:
    """An upload field that hands on the file's path, for `picture`."""
    settings = {"type": "filepath", "sources": ["upload", "webcam", "clipboard"], "height": 320, **options}
    return _PictureField(label=label, elem_classes="input", **settings)


def video_input(label: str = "Video", **options: Any) -> gr.Video:
    """An upload field that hands on the file's path, for `video`; nothing is converted."""
    settings = {"sources": ["upload", "webcam"], "height": 380, "loop": True, **options}
    return _VideoField(label=label, elem_classes="input", **settings)


def files_input(label: str, **options: Any) -> gr.File:
    """A field for several files that hands on the list of their paths; what they are is told by their content."""
    settings = {"file_count": "multiple", "height": 160, **options}
    return _FilesField(label=label, elem_classes="input", **settings)


def choice_input(label: str, choices: Sequence[Any], **options: Any) -> gr.Dropdown:
    """A list to choose one of, the first to begin with; the answer checks what was chosen with `chosen`."""
    return _ChoiceField(choices, label=label, **options)


def chosen(value: Any, choices: Collection[str]) -> str:
    """A value that is one of the choices.

    Raises:
        UserError: it is none.
    """
    if not isinstance(value, str) or value not in choices:
        raise UserError("There is no such choice. Take one of the list.")
    return value


def example_files(pictures: Sequence[tuple[str, np.ndarray]], folder: Path) -> list[str]:
    """Writes example pictures (name, (H, W, 3) uint8 RGB) as PNG files; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png" for name, _ in pictures]
    for path, (_, image) in zip(paths, pictures, strict=True):
        write_image(path, image)
    return [str(path) for path in paths]


def fresh_folder(parent: str | Path) -> Path:
    """A new folder for the files of one answer; those of answers that were given ten minutes ago are removed.

    gradio copies what an answer returns into its own cache, which is bounded by `delete_cache`.
    """
    Path(parent).mkdir(parents=True, exist_ok=True)
    for old in Path(parent).glob("answer-*"):
        with contextlib.suppress(OSError):  # another answer may have removed it
            if time.time() - old.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix="answer-", dir=parent))


def bundle(files: Sequence[str | Path], path: Path) -> str:
    """The files in one archive, which is written; they are compressed already, and stored as they are."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            archive.write(file, Path(file).name)
    return str(path)
