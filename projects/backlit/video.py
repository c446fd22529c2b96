"""Videos, frame by frame: brightened like photos, without flicker, with their sound."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from clipapps.data.video import VideoReader
from clipapps.data.video.remux import VideoCopy, target_suffix
from clipapps.engine.atomic import write_json
from clipapps.inference.film import FilmResult
from clipapps.inference.result import Image
from clipapps.projects.backlit.smoothing import LightSmoother
from clipapps.visualization.panels import side_by_side

if TYPE_CHECKING:
    from clipapps.projects.backlit.inferencer import BacklitInferencer

#: short side of the copy of a frame whose light map is computed, unless asked otherwise
MAP_SIDE = 288
_GRAY = torch.tensor([0.299, 0.587, 0.114])


@dataclass
class VideoResult(FilmResult):
    """A video that is enhanced while it is saved, in the memory of a few frames.

    Args:
        name, image, file: see `FilmResult`.
        inferencer: what enhances it.
    """

    inferencer: BacklitInferencer
    beside: ClassVar[str] = "_enhanced"

    def enhanced(self, smoother: LightSmoother) -> Iterator[tuple[float, np.ndarray]]:
        """Seconds from the first frame, and the enhanced frame (H, W, 3) uint8 RGB, one by one.

        Raises:
            BadSampleError: the video is damaged.
        """
        side = MAP_SIDE if self.inferencer.map_side is None else self.inferencer.map_side
        with VideoReader(self.file) as video:
            for time, frame in video.stream():
                yield time, self.inferencer.enhance_frame(frame, time, side, smoother)

    def plot(self) -> Image:
        """The first frame before and after, side by side."""
        return side_by_side([("before", self.image), ("after", next(self.enhanced(LightSmoother(0.0)))[1])])

    def save(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Enhance the video into a folder: a file of its name with its sound, and `<name>.json`; returns the paths.

        The facts say how much the light flickers where the picture stands still (`LightSmoother.flicker`), for every
        frame alone and as written.

        Raises:
            BadSampleError: the video is damaged. DiskError: it cannot be written. No half-written file is left.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.name = self.name_in(folder)
        target = folder / f"{self.name}{target_suffix(self.file)}"
        smoother, facts, count = LightSmoother(self.inferencer.smoothing), self.to_dict(), 0
        with VideoCopy(self.file, target) as copy:
            for time, frame in self.enhanced(smoother):
                copy.add(frame, time)
                count += 1
                self.tell(time, facts["seconds"])
        own, smooth = (round(value, 6) for value in smoother.flicker)
        write_json(folder / f"{self.name}.json", dict(**facts, frames=count, cuts=smoother.cuts,
                                                      flicker=dict(each_frame_alone=own, written=smooth)))
        return [target, folder / f"{self.name}.json"]


def gray_of(frame: np.ndarray) -> torch.Tensor:
    """(H, W, 3) uint8 RGB -> (H, W) 0..1."""
    return torch.from_numpy(np.require(frame, requirements="W")).float() @ (_GRAY / 255)
