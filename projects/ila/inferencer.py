"""What happens in a video: for any names of classes, or for those that a model was trained on."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from clipapps.clip.weights import BUILTIN
from clipapps.data.arrays import as_images
from clipapps.data.images import png_bytes
from clipapps.data.inputs import list_files, unique_names
from clipapps.data.video import VIDEO_SUFFIXES, VideoReader
from clipapps.engine import checkpoint
from clipapps.engine.atomic import atomic_file, write_text
from clipapps.engine.builtin_words import warn_of_unknown_words
from clipapps.engine.config import load_config
from clipapps.engine.trained_config import config_of_weights
from clipapps.errors import UserError
from clipapps.inference import Image, Inferencer, Result
from clipapps.project import get_project
from clipapps.projects.ila import pictures
from clipapps.projects.ila.heads import TextHead
from clipapps.projects.ila.models import ILAClassifier
from clipapps.projects.ila.windows import (
    RESIZE_MARGIN,
    TimedFrames,
    Window,
    array_frames,
    camera_frames,
    cut_windows,
    film_frames,
)
from clipapps.registry import MODELS

ZERO_SHOT = "ila/zero_shot_tiny_toyworld"  # what runs without weights
FOR_REAL_VIDEOS = "for real videos use --arch ViT-B-32-quickgelu --clip-weights openai, or trained weights"


@dataclass(frozen=True)
class Recognized:
    """One window: its seconds, and the probability of every class, (K,) float32."""

    start: float
    end: float
    scores: np.ndarray


@dataclass
class VideoResult(Result):
    """What was recognized in a video.

    Args:
        name, image: see `Result`; the image is a frame.
        windows: in order of time.
        class_names: K names.
        shown: the window of the surest answer, whose frames are drawn.
        points: its interactive points, (T - 1, 4), or None.
        method: which model.
        top: how many classes are told.
        unknown_words: words in the class names that the tiny CLIP never saw.
    """

    windows: list[Recognized]
    class_names: tuple[str, ...]
    shown: Window
    points: np.ndarray | None = None
    method: str = ""
    top: int = 5
    unknown_words: list[str] = field(default_factory=list)

    @property
    def scores(self) -> np.ndarray:
        """Probabilities of the whole video, (K,): the mean over windows, by their length."""
        lengths = np.array([max(window.end - window.start, 1e-6) for window in self.windows])
        return (lengths[:, None] * np.stack([window.scores for window in self.windows])).sum(0) / lengths.sum()

    def best(self, scores: np.ndarray | None = None) -> list[tuple[str, float]]:
        """Names and probabilities of the `top` most probable classes, of the whole video or of given scores."""
        scores = self.scores if scores is None else scores
        order = np.argsort(-scores, kind="stable")[:self.top]
        return [(self.class_names[index], float(scores[index])) for index in order]

    def plot(self) -> Image:
        """The frames of the surest window, and bars of the best classes."""
        row = pictures.strip(self.shown.frames, self.shown.times, self.points)
        names, scores = zip(*self.best(), strict=True)
        parts = [row, pictures.bars(names, scores, width=row.shape[1])]
        return pictures.stacked([*parts, self.plot_timeline(row.shape[1])] if len(self.windows) > 1 else parts)

    def plot_timeline(self, width: int = 960) -> Image:
        """The best classes over time."""
        names = [name for name, _ in self.best()]
        columns = [self.class_names.index(name) for name in names]
        return pictures.timeline(names, np.stack([window.scores[columns] for window in self.windows]),
                                 [(window.start, window.end) for window in self.windows], width)

    def to_dict(self) -> dict[str, Any]:
        """The best classes of the video and of each window."""
        return dict(method=self.method, unknown_words=self.unknown_words, top=_rounded(self.best()), windows=[
            dict(start=round(window.start, 3), end=round(window.end, 3), top=_rounded(self.best(window.scores)))
            for window in self.windows])

    def save(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write picture and facts, and `<name>.csv` with the probability of every class in every window; videos of
        several windows also get `<name>_timeline.png`.
        """
        paths = super().save(folder)
        table = io.StringIO()
        writer = csv.writer(table)
        writer.writerow(["start", "end", *self.class_names])
        writer.writerows([f"{window.start:.3f}", f"{window.end:.3f}", *(f"{score:.6f}" for score in window.scores)]
                         for window in self.windows)
        paths.append(Path(folder) / f"{self.name}.csv")
        write_text(paths[-1], table.getvalue())
        if len(self.windows) > 1:
            paths.append(Path(folder) / f"{self.name}_timeline.png")
            with atomic_file(paths[-1]) as stream:
                stream.write(png_bytes(self.plot_timeline()))
        return paths


class ILAInferencer(Inferencer):
    """Recognition in videos.

    Args:
        weights: `best.safetensors` or a checkpoint of a training run, or a converted one; None: the shipped ones, which
            know the motions of the toy world, or with `classes`, `arch` or `clip_weights` zero-shot: the mean of the
            frames against the class names.
        device: where to run.
        classes: names; models with a text head take any, others only the names of those they were trained on.
        config: config of the weights; None: found beside them or by the name that they carry.
        arch, clip_weights: the CLIP used without `weights`, for example "ViT-B-32-quickgelu" and "openai".
        window: seconds that are judged at once; longer videos get a timeline.
        top: how many classes are told.
        layer: block whose interactive points are drawn.

    Raises:
        WeightsError: they cannot be used. UserError: classes that the model cannot score, or a value out of range.

    >>> from clipapps.toyworld import sample_motion
    >>> result = ILAInferencer(top=3)(sample_motion(0, 0).frames(16, 48))[0]
    >>> len(result.best()), result.method, result.points.shape
    (3, 'ila_tiny_toyworld', (3, 4))
    """

    suffixes = VIDEO_SUFFIXES
    watches_cameras = True

    def __init__(self, weights: str | Path | None = None, device: torch.device | str = "cpu", *,
                 classes: Sequence[str] | None = None, config: str | Path | None = None, arch: str | None = None,
                 clip_weights: str | None = "builtin", window: float = 10.0, top: int = 5, layer: int = -1) -> None:
        if window <= 0 or top < 1:
            raise UserError(f"The window is longer than 0 seconds and top at least 1, not {window} and {top}.")
        self.device, self.window, self.top, self.layer = torch.device(device), window, int(top), layer
        init_default_scope("clipapps")
        if weights is None and classes is None and arch is None and clip_weights == BUILTIN:
            weights = get_project("ila").shipped_weights()
        if weights is None:
            cfg = load_config(ZERO_SHOT)
            cfg.model.backbone.update(arch=arch or cfg.model.backbone.arch, weights=clip_weights)
            self.model: ILAClassifier = MODELS.build(cfg.model)
            self.model.backbone.init_weights()
            self.method = f"zero-shot, CLIP {cfg.model.backbone.arch}"
        else:
            cfg = config_of_weights("ila", weights, config)
            self.model = MODELS.build(cfg.model)
            checkpoint.load_weights(self.model, weights)
            self.method = checkpoint.read_metadata(weights).get("config") or Path(str(cfg.filename)).stem
        self.model.to(self.device).eval()
        self.side, self.margin = view_of(cfg, self.model, is_own=arch is None)
        self.class_names = self._choose(classes, cfg)
        is_tiny = isinstance(self.model.head, TextHead) and cfg.model.backbone.weights == BUILTIN
        self.unknown_words = warn_of_unknown_words(
            self.class_names, cfg.model.backbone.arch, FOR_REAL_VIDEOS) if is_tiny else []

    def _choose(self, classes: Sequence[str] | None, cfg: Config) -> tuple[str, ...]:
        if isinstance(classes, str):
            raise UserError(f"`classes` is the text {classes!r}; expected a list of names.")
        if isinstance(self.model.head, TextHead):
            if classes is not None:
                self.model.head.use_classes(classes)
            return self.model.head.class_names
        count = self.model.num_classes
        if classes is not None and len(classes) != count:
            raise UserError(f"{self.method} has a linear head and scores the {count} classes it was trained on; "
                            f"{len(classes)} names were given. Other classes need weights of a model with a text head.")
        return tuple(classes) if classes is not None else names_of(cfg) or tuple(f"class {i}" for i in range(count))

    def stream(self, inputs: Any) -> Iterator[Result]:
        """Results one by one.

        Args:
            inputs: a video file, a folder, frames in memory (an array (N, H, W, 3) uint8 RGB, or a tensor (N, 3, H, W),
                uint8 or floating-point in 0..1), the number of a camera (a result for each window, for ever), or a
                list, tuple or iterator of these.

        Raises:
            BadSampleError: a file is no whole video; the message names it.
        """
        if isinstance(inputs, Iterator):
            yield from self.stream_each(inputs)
            return
        items = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        files = [list_files(item, self.suffixes) if isinstance(item, (str, os.PathLike)) else [] for item in items]
        names = iter(unique_names([file for of_item in files for file in of_item]))
        for index, (item, of_item) in enumerate(zip(items, files, strict=True)):
            if isinstance(item, int):
                yield from self._watch(item)
            elif not isinstance(item, (str, os.PathLike)):
                yield self.predict(np.stack(as_images(item)), f"video{index}")
            for file in of_item:
                with VideoReader(file) as video:
                    seconds = video.duration
                result = self.recognize(film_frames(file), next(names), seconds)
                result.source = file
                yield result

    def predict(self, image: Image, name: str) -> VideoResult:
        """Frames (N, H, W, 3) uint8 RGB, or one frame, -> what is in them."""
        return self.recognize(array_frames(np.stack(as_images(image))), name)

    def recognize(self, frames: TimedFrames, name: str, seconds: float = 0.0) -> VideoResult:
        """Frames with their seconds -> the result; `seconds` of the whole video are for the progress alone."""
        found: list[Recognized] = []
        shown, points, surest = None, None, -1.0
        windows = self._windows(frames)
        while batch := list(islice(windows, self.batch_size)):
            for window, (scores, its_points) in zip(batch, self.judge(batch), strict=True):
                found.append(Recognized(window.start, window.end, scores))
                if scores.max() > surest:
                    shown, points, surest = window, its_points, float(scores.max())
            if self.progress is not None and seconds > 0:
                self.progress(min(1.0, batch[-1].end / seconds))
        if shown is None:
            raise UserError(f"{name} has no frames.")
        return VideoResult(name, shown.frames[0], found, self.class_names, shown, points, self.method, self.top,
                           self.unknown_words)

    def _windows(self, frames: TimedFrames) -> Iterator[Window]:
        return cut_windows(frames, self.window, self.model.num_frames, self.side, self.margin)

    def _watch(self, camera: int) -> Iterator[VideoResult]:
        for index, window in enumerate(self._windows(camera_frames(camera))):
            [(scores, points)] = self.judge([window])
            yield VideoResult(f"camera{camera}_{index:05d}", window.frames[0],
                              [Recognized(window.start, window.end, scores)], self.class_names, window, points,
                              self.method, self.top)

    def judge(self, windows: Sequence[Window]) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """Probabilities (K,) of each window, and its interactive points (T - 1, 4), None without alignment."""
        clips = torch.from_numpy(np.stack([window.frames for window in windows])).to(self.device)
        with self.computing():
            features = self.model.encode(self.model.data_preprocessor.normalize(clips.permute(0, 1, 4, 2, 3)))
            scores = self.model.classify(features).float().softmax(dim=-1).cpu().numpy()
            points = features.aligned[self.layer].points.float().cpu().numpy() if features.aligned else None
        return [(own, None if points is None else points[index]) for index, own in enumerate(scores)]


def view_of(cfg: Config, model: ILAClassifier, *, is_own: bool = True) -> tuple[int, float]:
    """Side of the square that a model reads, and how much more of the short side is scaled to.

    Args:
        is_own: whether the model's tower is the config's, so that the config's data tells.
    """
    data = cfg.val_dataloader.dataset
    if is_own and data.get("size"):  # a toy-world set draws whole frames at this size
        return data.size, 1.0
    sizes = {_name_of(step): step.get("size") for step in data.get("pipeline", ())} if is_own else {}
    crop, short = sizes.get("CropCenter"), sizes.get("ResizeShortSide")
    return (crop, short / crop) if crop and short else (min(model.backbone.native_size), RESIZE_MARGIN)


def names_of(cfg: Config) -> tuple[str, ...]:
    """Class names that a toy-world config's data set has; none for others."""
    if _name_of(cfg.val_dataloader.dataset).startswith("ToyWorldVideo"):
        from clipapps.toyworld.motions import MOTIONS

        return tuple(MOTIONS)
    return ()


def _name_of(part: Config) -> str:
    """Name of the class that a config's dict builds."""
    kind = part.get("type")
    return getattr(kind, "__name__", str(kind)).rpartition(".")[2]


def _rounded(best: list[tuple[str, float]]) -> list[dict[str, Any]]:
    return [dict(name=name, score=round(score, 4)) for name, score in best]
