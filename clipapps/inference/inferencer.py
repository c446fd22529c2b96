"""The one-call API: what a project implements, and `load`, which opens it."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from clipapps.data.arrays import as_images
from clipapps.data.images import IMAGE_SUFFIXES, read_image
from clipapps.data.inputs import list_files, unique_names
from clipapps.data.video import VIDEO_SUFFIXES
from clipapps.engine.run_config import pick_device
from clipapps.errors import DataError, UserError, did_you_mean, is_out_of_memory
from clipapps.inference.film import FilmResult
from clipapps.inference.result import Image, Result, Results
from clipapps.project import get_project

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Input:
    """One thing to work on.

    Args:
        name: for its result.
        image: (H, W, 3) uint8 RGB; None for a film, which is decoded frame by frame.
        source: its file, if it has one.
    """

    name: str
    image: Image | None
    source: Path | None = None


class Inferencer(ABC):
    """A project's ready model: images in, `Result`s out.

    A subclass builds its model in `__init__(weights, device, **options)` and implements `predict`, and `predict_batch`
    where several images at once are faster. Its options are keyword arguments; those that the command line offers
    stand in the project's record (`Project.predict_options`).

    Attributes:
        suffixes: kinds of files that are taken from a folder.
        batch_size: how many images `stream` hands to `predict_batch` at once.
        precision: "float32", "bfloat16", or "float16" of what `computing` surrounds.
        watches_cameras: whether `stream` takes the number of a camera.
        progress: called with the share of the present input that is done, 0 to 1, by those that take long.
    """

    device: torch.device = torch.device("cpu")
    suffixes: frozenset[str] = IMAGE_SUFFIXES | VIDEO_SUFFIXES
    batch_size: int = 1
    precision: str = "float32"
    watches_cameras: bool = False
    progress: Callable[[float], None] | None = None

    @abstractmethod
    def predict(self, image: Image, name: str) -> Result:
        """One image (H, W, 3) uint8 RGB -> its result."""

    def predict_batch(self, images: Sequence[Image], names: Sequence[str]) -> Sequence[Result]:
        """Images of one size -> their results."""
        return [self.predict(image, name) for image, name in zip(images, names, strict=True)]

    @contextlib.contextmanager
    def computing(self) -> Iterator[None]:
        """Around a model's forward pass: no gradients, and the precision that was asked for."""
        is_mixed = self.precision != "float32"
        with torch.inference_mode(), torch.autocast(self.device.type, PRECISIONS[self.precision], enabled=is_mixed):
            yield

    def stream(self, inputs: Any) -> Iterator[Result]:
        """Results one by one, so that a folder or a generator of any length needs the memory of one batch.

        Args:
            inputs: a file, a folder, a picture in memory (see `clipapps.data.arrays.as_images`), or a list, tuple or
                iterator of these. A film becomes one result, whose frames are computed when it is saved or read.
        """
        for batch in _batches(iterate_images(inputs, self.suffixes), self.batch_size):
            for item, result in zip(batch, self._answers(batch), strict=True):
                result.source = item.source
                yield result

    def stream_each(self, inputs: Iterator[Any]) -> Iterator[Result]:
        """`stream` of every item of an iterator, for those who read files in a way of their own; names get numbers."""
        for number, item in enumerate(inputs):
            for result in self.stream(item):
                result.name = f"{number:06d}_{result.name}"
                yield result

    def __call__(self, inputs: Any) -> Results:
        """All results at once, see `stream`."""
        return Results(self.stream(inputs))

    def _answers(self, batch: list[Input]) -> Sequence[Result]:
        """Results of a batch; where it does not fit into memory, of one image after the other."""
        images, names = [item.image for item in batch if item.image is not None], [item.name for item in batch]
        if not images:
            return [FilmResult.open(self, item.source, item.name) for item in batch if item.source is not None]
        with self.computing():
            try:
                return self.predict_batch(images, names)
            except Exception as error:
                if len(batch) == 1 or not is_out_of_memory(error):
                    raise
            return [self.predict(image, name) for image, name in zip(images, names, strict=True)]


def load(project: str, weights: str | os.PathLike[str] | None = None, *, device: str = "auto", batch_size: int = 1,
         precision: str = "float32", **options: Any) -> Inferencer:
    """The inferencer of a project with its shipped weights, or with a checkpoint of yours.

    Args:
        project: a name from `clipapps list projects`.
        weights: a checkpoint, or the name of shipped weights (`clipapps list weights`); None: the project's default.
        device: "cpu", "cuda", or "auto" (a GPU when there is one).
        batch_size: images that are computed at once, where they have one size.
        precision: "float32", "bfloat16", or, on a GPU, "float16".
        **options: the project's own, for example `classes=["sky", "tree"]` for denseclip.

    Raises:
        UserError: unknown project, option, device, or precision; WeightsError: weights that cannot be used.

    >>> from clipapps.toyworld import render, sample_scene
    >>> result = load("denseclip")(render(sample_scene(0, 22), 128).image)[0]
    >>> result.mask.shape, result.to_dict()["classes"][0]["name"]
    ((128, 128), 'background')
    """
    record = get_project(project)
    if record.inferencer is None:
        raise UserError(f"The project {project!r} has no inference; it is for training only.")
    chosen = pick_device(device)
    if precision not in PRECISIONS or (precision == "float16" and chosen.type == "cpu"):
        raise UserError(f"precision={precision!r} is not to be had on {chosen}; choose one of "
                        f"{', '.join(name for name in PRECISIONS if name != 'float16' or chosen.type != 'cpu')}.")
    if batch_size < 1:
        raise UserError(f"batch_size is at least 1, not {batch_size}.")
    inferencer_type: Callable[..., Inferencer] = record.part("inferencer")
    try:
        inferencer = inferencer_type(weights=record.weights_file(weights), device=chosen, **options)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        reason = str(error).rpartition("() ")[2]
        hint = did_you_mean(reason.split("'")[1], [option.name for option in record.predict_options])
        raise UserError(f"{project}: {reason}.{hint} See help(clipapps.load({project!r})).") from error
    inferencer.batch_size, inferencer.precision = batch_size, precision
    return inferencer


def iterate_images(inputs: Any, suffixes: frozenset[str] = IMAGE_SUFFIXES) -> Iterator[Input]:
    """Every picture and film of all that `Inferencer.stream` takes, read when it is asked for.

    Files of a sequence have different names; those of an iterator, which is not looked ahead into, get numbers.
    """
    if isinstance(inputs, Iterator):
        for number, item in enumerate(inputs):
            for found in iterate_images(item, suffixes):
                yield Input(f"{number:06d}_{found.name}", found.image, found.source)
        return
    items = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
    files = [list_files(item, suffixes) if isinstance(item, str | os.PathLike) else [] for item in items]
    names = iter(unique_names([file for of_item in files for file in of_item]))
    for index, (item, of_item) in enumerate(zip(items, files, strict=True)):
        if not isinstance(item, str | os.PathLike):
            images = as_images(item)
            for number, image in enumerate(images):
                yield Input(f"image{index}" if len(images) == 1 else f"image{index}_{number}", image)
        for file in of_item:
            yield Input(next(names), None if file.suffix.lower() in VIDEO_SUFFIXES else read_image(file), file)


def _batches(items: Iterable[Input], size: int) -> Iterator[list[Input]]:
    """Lists of up to `size` pictures of one size, in order; what comes before an unreadable one is not lost with it."""
    batch: list[Input] = []
    try:
        for item in items:
            if batch and _size(item) != _size(batch[0]):
                yield batch
                batch = []
            batch.append(item)
            if len(batch) == size:  # at once: the next one may take long to come
                yield batch
                batch = []
    except DataError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _size(item: Input) -> Any:
    return item.source if item.image is None else item.image.shape
