"""Enhance photos: the network alone, in bounded memory, with metadata kept."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from clipapps.engine.atomic import atomic_file, write_json
from clipapps.errors import UserError, WeightsError
from clipapps.inference import Image, Inferencer, Result, iterate_images, list_image_files, unique_names
from clipapps.projects.backlit.metrics import luminance
from clipapps.projects.backlit.models import load_network, to_bytes
from clipapps.projects.backlit.network import EnhancementNetwork, enhance
from clipapps.projects.backlit.photos import Photo, read_photo
from clipapps.projects.backlit.tiling import tiled_light_map
from clipapps.visualization.panels import side_by_side

#: photos of more pixels are tiled on a CPU; whole ones need 1.7 GB a megapixel
_TILE = 768


@dataclass
class EnhancementResult(Result):
    """An enhanced photo.

    Args:
        name, image: see `Result`.
        enhanced: (H, W, 3) uint8 RGB.
        light_map: (H, W) float32, what the photo was divided by.
        photo: what else belongs to the file.
    """

    enhanced: Image
    light_map: np.ndarray
    photo: Photo
    beside: ClassVar[str] = "_enhanced"

    def plot(self) -> Image:
        """The photo before and after, side by side."""
        return side_by_side([("before", self.image), ("after", self.enhanced)])

    def to_dict(self) -> dict[str, Any]:
        """Size, brightness before and after, the light map's range, and the share of values newly at 255."""
        return dict(size=list(self.image.shape[:2]), luminance_before=round(luminance(self.image), 4),
                    luminance_after=round(luminance(self.enhanced), 4),
                    clipped=round(float(((self.enhanced == 255) & (self.image < 255)).mean()), 5),
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
    """Enhances photos of any size with an enhancement network.

    Args:
        weights: of a training run (`best.safetensors`) or converted ones.
        device: where to run.
        strength: 0 leaves a photo as it is, 1 is the network's full answer; the map is raised to this power.
        protect_highlights: no channel is cut off at white, so that bright colors keep their hue.
        max_gain: factor that dark parts are brightened by at most; None: no limit (noise grows with it).
        never_darken: maps above 1 count as 1.
        padding: of the network, see `EnhancementNetwork`.

    Raises:
        WeightsError: no weights, or they cannot be used. UserError: a value out of its range.
    """

    def __init__(self, weights: str | Path | None = None, device: torch.device | str = "cpu", *, strength: float = 1.0,
                 protect_highlights: bool = False, max_gain: float | None = None, never_darken: bool = False,
                 padding: str = "reflect") -> None:
        if not 0 <= strength <= 1:
            raise UserError(f"strength is between 0 and 1, not {strength}.")
        if max_gain is not None and max_gain < 1:
            raise UserError(f"max_gain is at least 1, not {max_gain}.")
        if weights is None:
            raise WeightsError("backlit has no weights of its own yet. Train some (clipapps train backlit/...), or "
                               "convert a published checkpoint (clipapps convert backlit FILE), and name them: "
                               "--weights FILE.")
        self.device = torch.device(device)
        self.strength, self.max_gain = strength, max_gain
        self.protect_highlights, self.never_darken = protect_highlights, never_darken
        self.network = EnhancementNetwork(padding)
        load_network(self.network, weights)
        self.network.to(self.device).eval()

    def stream(self, inputs: Any) -> Iterator[Result]:
        """Results one by one, see `Inferencer.stream`; files keep their alpha, color profile and metadata."""
        items = list(inputs) if isinstance(inputs, Sequence) and not isinstance(inputs, str) else [inputs]
        if not all(isinstance(item, str | os.PathLike) for item in items):
            for name, image, _ in iterate_images(inputs):
                yield self.predict(image, name)
            return
        files = [file for item in items for file in list_image_files(item)]
        for name, file in zip(unique_names(files), files, strict=True):
            result = self.enhance_photo(read_photo(file), name)
            result.source = file
            yield result

    def predict(self, image: Image, name: str) -> EnhancementResult:
        """One image (H, W, 3) uint8 RGB -> its enhancement."""
        return self.enhance_photo(Photo(image), name)

    @torch.inference_mode()
    def enhance_photo(self, photo: Photo, name: str) -> EnhancementResult:
        """A photo with all that belongs to it -> its enhancement."""
        pixels = torch.from_numpy(photo.colors).permute(2, 0, 1)[None].float() / 255  # (1, 3, H, W)
        light_map = self.adjusted(tiled_light_map(self.network, pixels, _TILE), pixels)
        enhanced = to_bytes(enhance(pixels, light_map))[0].permute(1, 2, 0).contiguous().numpy()
        return EnhancementResult(name, photo.colors, enhanced, light_map[0, 0].numpy(), photo)

    def adjusted(self, light_map: Tensor, pixels: Tensor) -> Tensor:
        """The light map (B, 1, H, W) after strength, limits and the protection of highlights of pixels (B, 3, H, W)."""
        if self.never_darken:
            light_map = light_map.clamp(max=1.0)
        if self.max_gain is not None:
            light_map = light_map.clamp(min=1 / self.max_gain)
        light_map = light_map**self.strength
        if self.protect_highlights:
            light_map = torch.maximum(light_map, pixels.amax(dim=1, keepdim=True))
        return light_map
