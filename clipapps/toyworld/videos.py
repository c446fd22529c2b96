"""The toy world in motion as data sets: frames drawn on the fly, and real video files written once."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.dataset import Compose
from torch.utils.data import Dataset

from clipapps.data.video.datasets import ListFileVideos
from clipapps.data.video.writing import write_video
from clipapps.errors import ConfigError, did_you_mean
from clipapps.registry import DATASETS

from .datasets import split_seed
from .motions import MOTIONS, Motion, sample_motion
from .scene import SceneSpec, make_spec

FORMAT = 1  # of the written files; a change of what is drawn needs another number


@DATASETS.register_module()
class ToyWorldVideos(Dataset):
    """Films of the toy world; each index is another one, the same in every process.

    A sample: `inputs` (T, 3, size, size) uint8 RGB, `label` (the place in `classes`), `index` and `sample_idx`.

    Args:
        num_videos: length; labels take turns, so that a multiple of the number of classes is balanced.
        frames: T, at equal distances over the film.
        size: side in pixels.
        seed, split: films of different splits never coincide.
        spec: keys of `SceneSpec`; counts, sizes and tilts are given by the motions.
        classes: names out of `motions.MOTIONS`.
        pipeline: transform configs or callables that take and return the dict above.

    Raises:
        ConfigError: a number below 1, or a class or key that the toy world does not have.

    >>> ToyWorldVideos(num_videos=2, frames=4, size=32)[1]["inputs"].shape
    torch.Size([4, 3, 32, 32])
    """

    def __init__(self, num_videos: int, frames: int = 8, size: int = 64, seed: int = 0, split: str = "train",
                 spec: dict[str, Any] | SceneSpec | None = None, classes: Sequence[str] = MOTIONS,
                 pipeline: Sequence[Any] = ()) -> None:
        if min(num_videos, frames, size) < 1:
            raise ConfigError("ToyWorldVideos needs num_videos, frames and size of at least 1.")
        self.num_videos, self.frames, self.size = num_videos, frames, size
        self.seed, self.spec = split_seed(seed, split), make_spec(spec)
        self.metainfo = {"classes": _known(classes)}
        self.pipeline = Compose(list(pipeline))

    def __len__(self) -> int:
        return self.num_videos

    def motion(self, index: int) -> Motion:
        """The film behind a sample."""
        name = self.metainfo["classes"][index % len(self.metainfo["classes"])]
        return sample_motion(self.seed, index, MOTIONS.index(name), self.spec)

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        cv2.setNumThreads(1)  # tiny pictures: OpenCV's threads cost more than they give
        frames = self.motion(index).frames(self.frames, self.size)
        inputs = torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2)))
        label = index % len(self.metainfo["classes"])
        return self.pipeline(dict(inputs=inputs, label=label, index=index, sample_idx=index))


@DATASETS.register_module()
class ToyWorldVideoFiles(ListFileVideos):
    """The same films as H.264 files, written when they are not there yet, and read as anybody's videos are.

    Args:
        num_videos, size, seed, split, spec, classes: as in `ToyWorldVideos`; sizes are even.
        frames: of each film, which all last two seconds.
        folder: where the folder of this set is written; None takes `toyworld_videos` in the cache folder.
        pipeline: starts from `video_path`, see `VideoFiles`.

    >>> def training_set():
    ...     return ToyWorldVideoFiles(num_videos=140, size=128)
    """

    def __init__(self, num_videos: int, frames: int = 32, size: int = 128, seed: int = 0, split: str = "train",
                 spec: dict[str, Any] | SceneSpec | None = None, classes: Sequence[str] = MOTIONS,
                 folder: str | Path | None = None, pipeline: Sequence[Any] = ()) -> None:
        films = ToyWorldVideos(num_videos, frames, size, seed, split, spec, classes)
        told = json.dumps([FORMAT, num_videos, frames, size, films.seed, repr(films.spec), films.metainfo["classes"]])
        name = f"{split}-{num_videos}x{frames}x{size}-{sha256(told.encode()).hexdigest()[:12]}"
        written = (Path(folder) if folder is not None else cache_folder()) / name
        if not (written / "list.txt").is_file():
            write_films(films, written)
        super().__init__(written / "list.txt", classes=films.metainfo["classes"], pipeline=pipeline)


def write_films(films: ToyWorldVideos, folder: Path) -> None:
    """Write films as `<folder>/<index>.mp4` of two seconds each, with `list.txt` and `labels.csv`.

    The folder appears when all is written; of two processes that write it the later one gives way.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f"{folder.name}.tmp-{os.getpid()}")
    unfinished.mkdir(exist_ok=True)
    try:
        lines = []
        for index in range(len(films)):
            write_video(unfinished / f"{index:05d}.mp4", films.motion(index).frames(films.frames, films.size),
                        fps=films.frames / 2)
            lines.append(f"{index:05d}.mp4 {index % len(films.metainfo['classes'])}\n")
        names = [f"{number},{name}\n" for number, name in enumerate(films.metainfo["classes"])]
        (unfinished / "labels.csv").write_text("id,name\n" + "".join(names), encoding="utf-8")
        (unfinished / "list.txt").write_text("".join(lines), encoding="utf-8")
        if not (folder / "list.txt").is_file():
            unfinished.rename(folder)
    except OSError:
        if not (folder / "list.txt").is_file():  # else another process was faster
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def write_film(path: str | Path, motion: str, seed: int = 0, *, size: int = 128, frames: int = 32, seconds: float = 2.0,
               spec: dict[str, Any] | SceneSpec | None = None) -> Path:
    """Write one film of a motion as H.264 in MP4, and return its path; another seed gives another film.

    Args:
        path: ends in .mp4; its folder exists.
        motion: a name out of `motions.MOTIONS`.
        size: side in pixels, even. frames: in all; seconds: how long they last.
        spec: as in `ToyWorldVideos`.

    Raises:
        ConfigError: a motion or key that the toy world does not have.

    >>> write_film("film.mp4", "moves leftt")
    Traceback (most recent call last):
    clipapps.errors.ConfigError: The toy world has no motion 'moves leftt'. Did you mean 'moves left'? It has: ...
    """
    [name] = _known([motion])
    film = sample_motion(split_seed(seed, "test"), MOTIONS.index(name), MOTIONS.index(name), make_spec(spec))
    write_video(path, film.frames(frames, size), fps=frames / seconds)
    return Path(path)


def cache_folder() -> Path:
    """`toyworld_videos` below CLIPAPPS_CACHE, else below the user's cache folder."""
    cache = os.environ.get("CLIPAPPS_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.join(Path.home(), ".cache"), "clipapps")
    return Path(cache) / "toyworld_videos"


def _known(classes: Sequence[str]) -> tuple[str, ...]:
    for name in classes:
        if name not in MOTIONS:
            raise ConfigError(f"The toy world has no motion {name!r}.{did_you_mean(name, MOTIONS)} It has: "
                              f"{', '.join(MOTIONS)}.")
    if not classes:
        raise ConfigError("ToyWorldVideos needs at least one class.")
    return tuple(classes)
