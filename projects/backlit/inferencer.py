"""Enhance photos and videos: the network alone, in bounded memory, with metadata kept."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from clipapps.data.inputs import list_files, unique_names
from clipapps.data.video import VIDEO_SUFFIXES
from clipapps.engine.atomic import atomic_file, write_json
from clipapps.errors import UserError, WeightsError
from clipapps.inference import Image, Inferencer, Result
from clipapps.project import get_project
from clipapps.projects.backlit.metrics import luminance
from clipapps.projects.backlit.models import load_network, to_bytes
from clipapps.projects.backlit.network import EnhancementNetwork, enhance
from clipapps.projects.backlit.photos import PHOTO_SUFFIXES, Photo, read_photo
from clipapps.projects.backlit.smoothing import LightSmoother
from clipapps.projects.backlit.tiling import tiled_light_map
from clipapps.projects.backlit.video import VideoResult, gray_of
from clipapps.visualization.panels import side_by_side

_ROWS = 256  # divided at a time, so that large photos need little beside themselves


@dataclass
class EnhancementResult(Result):
    """An enhanced photo.

    Args:
        name, image: see `Result`.
        enhanced: (H, W, 3) RGB, uint8 or uint16 as the photo.
        light_map: (H, W) float32, what the photo was divided by.
        photo: what else belongs to the file.
    """

    enhanced: np.ndarray
    light_map: np.ndarray
    photo: Photo
    beside: ClassVar[str] = "_enhanced"

    def plot(self) -> Image:
        """The photo before and after, side by side."""
        return side_by_side([("before", self.image), ("after", self.photo.preview(self.enhanced))])

    def to_dict(self) -> dict[str, Any]:
        """Size, brightness before and after, the light map's range, and the share of values newly at white."""
        white = self.photo.white
        return dict(size=list(self.image.shape[:2]), luminance_before=round(luminance(self.image), 4),
                    luminance_after=round(luminance(self.photo.preview(self.enhanced)), 4),
                    clipped=round(float(((self.enhanced == white) & (self.photo.colors < white)).mean()), 5),
                    light_map=[round(float(value), 4) for value in (self.light_map.min(), self.light_map.mean(),
                                                                    self.light_map.max())])

    def save(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write the enhanced photo in its own format, with its metadata, and `<name>.json`; returns the paths.

        In the input's own folder the name becomes `<name>_enhanced`, so that no photo is ever replaced.

        Raises:
            DiskError: the folder cannot be written; no half-written file is left.
        """
        folder = Path(folder)
        self.name = self.name_in(folder)
        picture, facts = folder / f"{self.name}{self.photo.suffix}", folder / f"{self.name}.json"
        with atomic_file(picture) as stream:
            stream.write(self.photo.encoded(self.enhanced))
        write_json(facts, self.to_dict())
        return [picture, facts]


class BacklitInferencer(Inferencer):
    """Enhances photos of any size, and videos, with an enhancement network.

    Args:
        weights: of a training run (`best.safetensors`) or converted ones; None: those that ship.
        device: where to run.
        strength: 0 leaves a photo as it is, 1 is the network's answer, up to 2 is bolder; the map is raised to this
            power.
        protect_highlights: no channel is cut off at white, so that bright colors keep their hue.
        max_gain: factor that dark parts are brightened by at most; None: no limit (noise grows with it).
        never_darken: maps above 1 count as 1.
        map_side: the light map is computed on a copy of this many pixels on the short side: fast and not exact. 0: on
            the photo itself; None: on photos themselves, and on copies of 288 pixels of a video's frames.
        smoothing: seconds over which the light of a video is averaged; 0: every frame for itself.

    Raises:
        WeightsError: no weights, or they cannot be used. UserError: a value out of its range.

    >>> result = BacklitInferencer(max_gain=4.0)(np.full((40, 60, 3), 30, np.uint8))[0]
    >>> result.enhanced.shape, bool(30 < result.enhanced.mean() <= 120), result.light_map.shape
    ((40, 60, 3), True, (40, 60))
    """

    suffixes = PHOTO_SUFFIXES | VIDEO_SUFFIXES

    def __init__(self, weights: str | Path | None = None, device: torch.device | str = "cpu", *, strength: float = 1.0,
                 protect_highlights: bool = False, max_gain: float | None = None, never_darken: bool = False,
                 map_side: int | None = None, smoothing: float = 0.5) -> None:
        _check(strength, max_gain, map_side, smoothing)
        weights = weights or get_project("backlit").shipped_weights()
        if weights is None:
            raise WeightsError("backlit has no weights of its own yet. Train some (clipapps train backlit/...), or "
                               "convert a published checkpoint (clipapps convert backlit FILE), and name them: "
                               "--weights FILE.")
        self.device = torch.device(device)
        self.strength, self.max_gain = strength, max_gain
        self.protect_highlights, self.never_darken = protect_highlights, never_darken
        self.map_side, self.smoothing = map_side, smoothing
        self.network = EnhancementNetwork()
        load_network(self.network, weights)
        self.network.to(self.device, memory_format=torch.channels_last).eval()

    def stream(self, inputs: Any) -> Iterator[Result]:
        """Results one by one, see `Inferencer.stream`; files keep their alpha, color profile and metadata.

        A video's result is computed while it is saved.
        """
        if isinstance(inputs, Iterator):
            yield from self.stream_each(inputs)
            return
        items = list(inputs) if isinstance(inputs, Sequence) and not isinstance(inputs, str) else [inputs]
        if not all(isinstance(item, str | os.PathLike) for item in items):
            yield from super().stream(inputs)
            return
        files = [file for item in items for file in list_files(item, self.suffixes)]
        for name, file in zip(unique_names(files), files, strict=True):
            result = VideoResult.open(self, file, name) if file.suffix.lower() in VIDEO_SUFFIXES else \
                self.enhance_photo(read_photo(file), name)
            result.source = file
            yield result

    def predict(self, image: Image, name: str) -> EnhancementResult:
        """One image (H, W, 3) uint8 RGB -> its enhancement."""
        return self.enhance_photo(Photo(image), name)

    @torch.inference_mode()
    def enhance_photo(self, photo: Photo, name: str) -> EnhancementResult:
        """A photo with all that belongs to it -> its enhancement."""
        light_map = self.light_map(photo.as_seen(), self.map_side or 0)
        return EnhancementResult(name, photo.preview(photo.colors), self.divided(photo.colors, light_map),
                                 light_map.numpy(), photo)

    def light_map(self, pixels: np.ndarray, map_side: int = 0, *, reports: bool = True) -> Tensor:
        """The network's map (H, W) of pixels (H, W, 3) uint8 or uint16 sRGB, after strength and limits."""
        with self.computing():
            return self._light_map(pixels, map_side, reports)

    def _light_map(self, pixels: np.ndarray, map_side: int, reports: bool) -> Tensor:
        images = as_tensor(pixels).permute(2, 0, 1)[None]
        height, width = pixels.shape[:2]
        scale = map_side / min(height, width)
        if 0 < scale < 1:
            size = [max(2, round(side * scale)) for side in (height, width)]
            small = F.interpolate(images.float() / np.iinfo(pixels.dtype).max, size=size, mode="area")
            found = F.interpolate(tiled_light_map(self.network, small), size=(height, width), mode="bilinear")[0, 0]
        else:
            found = tiled_light_map(self.network, images, progress=self.progress if reports else None)[0, 0]
        if self.never_darken:
            found.clamp_(max=1.0)
        found.pow_(self.strength)
        return found if self.max_gain is None else found.clamp_(min=1 / self.max_gain)

    def divided(self, colors: np.ndarray, light_map: Tensor) -> np.ndarray:
        """Colors (H, W, 3) uint8 or uint16 divided by a map (H, W), which the protection of highlights may raise."""
        white, divided = float(np.iinfo(colors.dtype).max), np.empty_like(colors)
        for top in range(0, len(colors), _ROWS):
            rows = as_tensor(colors[top:top + _ROWS]).float() / white
            maps = light_map[top:top + _ROWS, :, None]
            if self.protect_highlights:
                torch.maximum(maps, rows.amax(dim=2, keepdim=True), out=maps)
            bright = enhance(rows, maps)
            divided[top:top + _ROWS] = (to_bytes(bright) if white == 255 else (bright * white + 0.5).floor()).numpy()
        return divided

    @torch.inference_mode()
    def enhance_frame(self, frame: np.ndarray, time: float, map_side: int, smoother: LightSmoother) -> np.ndarray:
        """One frame (H, W, 3) uint8 of a video, `time` in seconds, after those that the smoother has seen."""
        light_map = smoother(self.light_map(frame, map_side, reports=False), gray_of(frame), time)
        return self.divided(frame, light_map.clone())


def as_tensor(pixels: np.ndarray) -> Tensor:
    """An array as a tensor that shares its memory, unless it may not be written, which torch warns of."""
    return torch.from_numpy(np.require(pixels, requirements="W"))


def _check(strength: float, max_gain: float | None, map_side: int | None, smoothing: float) -> None:
    """Raises UserError when an option is out of its range."""
    if not 0 <= strength <= 2:
        raise UserError(f"strength is between 0 and 2, not {strength}.")
    if max_gain is not None and not max_gain >= 1:
        raise UserError(f"max_gain is at least 1, not {max_gain}.")
    if map_side is not None and map_side and map_side < 16:
        raise UserError(f"map_side is at least 16 pixels, or 0 for the photo itself, not {map_side}.")
    if not 0 <= smoothing < float("inf"):
        raise UserError(f"smoothing is a number of seconds, 0 or more, not {smoothing}.")
