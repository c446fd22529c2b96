"""One-call inference: `load("denseclip")("photo.jpg").save("out/")`, for any project, from Python, CLI, and demos."""

from __future__ import annotations

import importlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from clipapps.data.images import IMAGE_SUFFIXES, png_bytes, read_image
from clipapps.data.inputs import list_files, places, unique_names
from clipapps.engine.atomic import atomic_file, write_json
from clipapps.engine.run_config import pick_device
from clipapps.errors import UserError, did_you_mean
from clipapps.project import get_project

Image = NDArray[np.uint8]


@dataclass
class Result(ABC):
    """What one input became.

    Args:
        name: stem of the input's file name; results are saved under it.
        image: the input, (H, W, 3) uint8 RGB.
        source: the input's file, if it was one.
        protected: folder and stem of other files that are not to be replaced (`clipapps.data.inputs.places`).
    """

    name: str
    image: Image
    source: Path | None = field(default=None, init=False)
    protected: frozenset[tuple[Path, str]] = field(default=frozenset(), init=False, repr=False)
    #: what the name gets in the input's own folder
    beside: ClassVar[str] = "_result"

    @abstractmethod
    def plot(self) -> Image:
        """A picture of the result, (H, W, 3) uint8 RGB."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The result as plain values that JSON can hold; arrays that are files of their own are left out."""

    def save(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write `<name>.png` (the picture) and `<name>.json` into a folder, which is made; returns the paths.

        In the input's own folder the name becomes `<name>_result`, so that no input is ever replaced.

        Raises:
            DiskError: the folder cannot be written; no half-written file is left.
        """
        folder = Path(folder)
        self.name = self.name_in(folder)
        picture, facts = folder / f"{self.name}.png", folder / f"{self.name}.json"
        with atomic_file(picture) as stream:
            stream.write(png_bytes(self.plot()))
        write_json(facts, self.to_dict())
        return [picture, facts]


    def name_in(self, folder: Path) -> str:
        """The name under which no input is replaced in a folder, through whatever links either is named."""
        own = places([self.source]) if self.source is not None else frozenset()
        taken = {stem for place, stem in own | self.protected if place == folder.resolve()}
        is_beside = any(place == folder.resolve() for place, _ in own)
        name = self.name + self.beside if is_beside and not self.name.endswith(self.beside) else self.name
        numbered = (f"{name}_{number}" for number in count(2))
        return name if name not in taken else next(other for other in numbered if other not in taken)


class Results(list[Result]):
    """The results of one call, in input order."""

    def save(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Save every result into a folder; returns all paths."""
        return [path for result in self for path in result.save(folder)]


class Inferencer(ABC):
    """A project's ready model: images in, `Result`s out.

    A subclass builds its model in `__init__(weights, device, **options)` and implements `predict`. Its options are
    keyword arguments; those that the command line offers stand in the project's record (`Project.predict_options`).

    Attributes:
        suffixes: kinds of files that are taken from a folder.
        progress: called with the share of the present input that is done, 0 to 1, by those that take long.
    """

    device: torch.device
    suffixes: frozenset[str] = IMAGE_SUFFIXES
    progress: Callable[[float], None] | None = None

    @abstractmethod
    def predict(self, image: Image, name: str) -> Result:
        """One image (H, W, 3) uint8 RGB -> its result."""

    def stream(self, inputs: Any) -> Iterator[Result]:
        """Results one by one, so that a folder of any length needs the memory of one image.

        Args:
            inputs: a path, a folder, an array (H, W, 3) uint8 RGB, a PIL image, or a sequence of these.
        """
        for name, image, source in iterate_images(inputs):
            with torch.inference_mode():  # not around the yield: the caller's own code runs there
                result = self.predict(image, name)
            result.source = source
            yield result

    def __call__(self, inputs: Any) -> Results:
        """All results at once, see `stream`."""
        return Results(self.stream(inputs))


def load(project: str, weights: str | os.PathLike[str] | None = None, *, device: str = "auto",
         **options: Any) -> Inferencer:
    """The inferencer of a project with its shipped weights, or with a checkpoint of yours.

    Args:
        project: a name from `clipapps list projects`.
        weights: a checkpoint; None: the weights that ship with the project.
        device: "cpu", "cuda", or "auto" (a GPU when there is one).
        **options: the project's own, for example `classes=["sky", "tree"]` for denseclip.

    Raises:
        UserError: unknown project, option, or device; WeightsError: weights that cannot be used.
    """
    record = get_project(project)
    if record.inferencer is None:
        raise UserError(f"The project {project!r} has no inference; it is for training only.")
    module, _, name = record.inferencer.partition(":")
    inferencer_type: type[Inferencer] = getattr(importlib.import_module(module), name)
    try:
        return inferencer_type(weights=weights, device=pick_device(device), **options)  # type: ignore[call-arg]
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        reason = str(error).rpartition("() ")[2]
        hint = did_you_mean(reason.split("'")[1], [option.name for option in record.predict_options])
        raise UserError(f"{project}: {reason}.{hint} See help(clipapps.load({project!r})).") from error


def list_image_files(path: str | os.PathLike[str]) -> list[Path]:
    """The path itself, or the images in that folder by name; raises DataError when there is nothing to read."""
    return list_files(path)


def iterate_images(inputs: Any) -> Iterator[tuple[str, Image, Path | None]]:
    """Name, RGB image, and file (None for an array) of every kind of input that `Inferencer.stream` takes."""
    items = list(inputs) if isinstance(inputs, Sequence) and not isinstance(inputs, str) else [inputs]
    files = [list_image_files(item) if isinstance(item, str | os.PathLike) else [] for item in items]
    names = iter(unique_names([file for of_item in files for file in of_item]))
    for index, (item, of_item) in enumerate(zip(items, files, strict=True)):
        if not isinstance(item, str | os.PathLike):
            yield f"image{index}", _as_image(item), None
        for file in of_item:
            yield next(names), read_image(file), file


def _as_image(value: Any) -> Image:
    array = np.asarray(value.convert("RGB") if hasattr(value, "convert") else value)
    if array.ndim != 3 or array.shape[2] != 3 or array.dtype != np.uint8:
        raise UserError(f"An image array has shape {array.shape} and type {array.dtype}; expected (H, W, 3) uint8 "
                        "in RGB order.")
    return array
