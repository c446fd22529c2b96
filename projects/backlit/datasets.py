"""Backlit and well-lit pictures: folders and the toy world, and the three views of them that training needs.

Labels come from the side a picture is on, never from its name: 0 is backlit, 1 is well-lit.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from clipapps.data.images import read_image
from clipapps.data.inputs import list_files
from clipapps.errors import BadSampleError, ConfigError, DataError
from clipapps.projects.backlit.augmentation import augment, sample_draw
from clipapps.registry import DATASETS
from clipapps.toyworld import SceneSpec, render, sample_scene
from clipapps.toyworld.datasets import split_seed
from clipapps.toyworld.scene import make_spec

BACKLIT, WELL_LIT = 0, 1
#: indices of toy scenes that are only seen well-lit begin here
_UNPAIRED = 1_000_000


class Lighting(Dataset):
    """Backlit and well-lit pictures. Item i is backlit picture i as the network sees it: squashed and augmented.

    A sample: `inputs` (3, size, size) uint8 RGB, `sample_idx`.

    Args:
        size: side of the network's pictures in pixels; zoom: range of its zoom factors.
        guidance_size, guidance_zoom: the same for the pictures that the guidance learns from.
    """

    metainfo: dict[str, Any] = {}  # noqa: RUF012  never changed

    def __init__(self, size: int = 512, zoom: tuple[float, float] = (0.7, 1.3), guidance_size: int = 256,
                 guidance_zoom: tuple[float, float] = (0.5, 1.5)) -> None:
        self.size, self.zoom = size, (zoom[0], zoom[1])
        self.guidance_size, self.guidance_zoom = guidance_size, (guidance_zoom[0], guidance_zoom[1])

    @abstractmethod
    def count(self, side: int) -> int:
        """How many pictures a side (BACKLIT or WELL_LIT) has."""

    @abstractmethod
    def read(self, side: int, index: int) -> np.ndarray:
        """A picture at its own size, (H, W, 3) uint8 RGB."""

    def __len__(self) -> int:
        return self.count(BACKLIT)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        image = squashed(self.read(BACKLIT, index), self.size)
        return dict(inputs=to_tensor(augment(image, sample_draw(self.zoom))), sample_idx=index)


class LabeledView(Dataset):
    """Both sides with labels, to initialize the guidance; the shorter side is repeated to the length of the longer.

    A sample: `inputs` (3, S, S) uint8 RGB, `label` 0 backlit or 1 well-lit, `sample_idx`.

    Args:
        pictures: the two sides.
    """

    metainfo: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, pictures: Lighting) -> None:
        self.pictures = pictures
        self.longer = max(pictures.count(BACKLIT), pictures.count(WELL_LIT))

    def __len__(self) -> int:
        return 2 * self.longer

    def __getitem__(self, index: int) -> dict[str, Any]:
        label, place = divmod(index, self.longer)
        image = self.pictures.read(label, place % self.pictures.count(label))
        image = augment(squashed(image, self.pictures.guidance_size), sample_draw(self.pictures.guidance_zoom))
        return dict(inputs=to_tensor(image), label=label, sample_idx=index)


class RankedView(Dataset):
    """Groups for the ranked refinement: a backlit picture, its earlier enhancements, and a well-lit one.

    The sides are equalized as in `LabeledView` and paired by a fixed shuffle. All pictures of a sample share one draw
    of the augmentation.

    A sample: `inputs` (G, 3, S, S) uint8 RGB, in the order of the ranking; `sample_idx`.

    Args:
        pictures: the two sides; seed: of the pairing.
    """

    metainfo: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, pictures: Lighting, seed: int = 0) -> None:
        self.pictures = pictures
        counts = pictures.count(BACKLIT), pictures.count(WELL_LIT)
        self.partners = np.random.default_rng(seed).permutation(np.arange(max(counts)) % counts[WELL_LIT])
        self.intermediates: Sequence[np.ndarray] = ()

    def set_intermediates(self, groups: Sequence[np.ndarray]) -> None:
        """Use these enhanced pictures: each (backlit pictures, S, S, 3) uint8, in the order of the ranking."""
        self.intermediates = groups

    def __len__(self) -> int:
        return len(self.partners)

    def __getitem__(self, index: int) -> dict[str, Any]:
        pictures, own = self.pictures, index % self.pictures.count(BACKLIT)
        size = pictures.guidance_size
        images = [squashed(pictures.read(BACKLIT, own), size), *(group[own] for group in self.intermediates),
                  squashed(pictures.read(WELL_LIT, int(self.partners[index])), size)]
        draw = sample_draw(pictures.guidance_zoom)
        return dict(inputs=torch.stack([to_tensor(augment(image, draw)) for image in images]), sample_idx=index)


@DATASETS.register_module(name="BacklitFolders")
class LightingFolders(Lighting):
    """A folder of backlit photos and a folder of well-lit ones, which may show other things.

    Args:
        backlit, well_lit: the folders; limit: at most so many photos of each, the first by name.
        options: of `Lighting`.

    Raises:
        DataError: a folder is missing or holds no images. BadSampleError (on reading): a file cannot be used.
    """

    def __init__(self, backlit: str, well_lit: str, limit: int | None = None, size: int = 512,
                 zoom: tuple[float, float] = (0.7, 1.3), guidance_size: int = 256,
                 guidance_zoom: tuple[float, float] = (0.5, 1.5)) -> None:
        super().__init__(size, zoom, guidance_size, guidance_zoom)
        self.files = [list_folder(folder)[:limit] for folder in (backlit, well_lit)]

    def count(self, side: int) -> int:
        """Files of that side."""
        return len(self.files[side])

    def read(self, side: int, index: int) -> np.ndarray:
        """The photo, upright, RGB."""
        return read_image(self.files[side][index])


@DATASETS.register_module(name="BacklitToyWorld")
class ToyWorldLighting(Lighting):
    """Toy scenes against the light, and well-lit ones of other scenes or of the same.

    Args:
        num_scenes: pictures on either side.
        seed, split: as in `ToyWorldScenes`; paired: the well-lit side shows the same scenes (they are never targets).
        spec: keys of `SceneSpec`.
        size: side in pixels, of the drawing too; zoom, guidance_zoom: see `Lighting`.

    >>> ToyWorldLighting(num_scenes=2, size=32)[1]["inputs"].shape
    torch.Size([3, 32, 32])
    """

    def __init__(self, num_scenes: int, size: int = 128, seed: int = 0, split: str = "train", paired: bool = False,
                 spec: dict[str, Any] | None = None, zoom: tuple[float, float] = (0.7, 1.3),
                 guidance_zoom: tuple[float, float] = (0.5, 1.5)) -> None:
        super().__init__(size, zoom, size, guidance_zoom)
        self.num_scenes, self.paired, self.seed = _checked_count(num_scenes), paired, split_seed(seed, split)
        self.spec = make_spec({"max_objects": 4, **(spec or {})})

    def count(self, side: int) -> int:
        """Scenes of either side."""
        return self.num_scenes

    def read(self, side: int, index: int) -> np.ndarray:
        """The drawing at `size`."""
        number = index + (_UNPAIRED if side == WELL_LIT and not self.paired else 0)
        return draw_scene(self.seed, number, self.spec, side, self.size)


class LightingPairs(Dataset):
    """Test pictures with their targets, where there are any.

    A sample: `inputs` (3, H, W) uint8 RGB at its own size, `target` the same (left out without targets), `name`,
    `sample_idx`.
    """

    metainfo: dict[str, Any] = {}  # noqa: RUF012

    @abstractmethod
    def __len__(self) -> int:
        """How many pictures."""

    @abstractmethod
    def read_pair(self, index: int) -> tuple[str, np.ndarray, np.ndarray | None]:
        """Name, picture and target."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        name, image, target = self.read_pair(index)
        if target is not None and target.shape != image.shape:
            raise BadSampleError(f"{name}: the picture is {image.shape[1]} x {image.shape[0]} pixels, its target "
                                 f"{target.shape[1]} x {target.shape[0]}; they must be equal.")
        sample = dict(inputs=to_tensor(image), name=name, sample_idx=index)
        return sample if target is None else dict(sample, target=to_tensor(target))


@DATASETS.register_module(name="BacklitFolderPairs")
class FolderPairs(LightingPairs):
    """A folder of test photos and, where there are targets, a folder of these under the same stems.

    Args:
        backlit: the photos; well_lit: their targets, or None.

    Raises:
        DataError: a folder is missing or empty, or a photo has no target of its stem.
    """

    def __init__(self, backlit: str, well_lit: str | None = None) -> None:
        self.files = list_folder(backlit)
        targets = {} if well_lit is None else {file.stem: file for file in list_folder(well_lit)}
        missing = [file.name for file in self.files if file.stem not in targets]
        if well_lit is not None and missing:
            raise DataError(f"{len(missing)} of {len(self.files)} photos in {backlit} have no target of the same name "
                            f"in {well_lit}: {', '.join(missing[:3])}.")
        self.targets = targets

    def __len__(self) -> int:
        return len(self.files)

    def read_pair(self, index: int) -> tuple[str, np.ndarray, np.ndarray | None]:
        """The photo and its target, upright, RGB."""
        file = self.files[index]
        target = self.targets.get(file.stem)
        return file.stem, read_image(file), None if target is None else read_image(target)


@DATASETS.register_module(name="BacklitToyWorldPairs")
class ToyWorldLightingPairs(LightingPairs):
    """Toy scenes against the light with the same scenes well-lit as targets; arguments as in `ToyWorldLighting`.

    >>> sample = ToyWorldLightingPairs(num_scenes=1, size=32)[0]
    >>> sample["target"].float().mean() > sample["inputs"].float().mean() * 0.5
    tensor(True)
    """

    def __init__(self, num_scenes: int, size: int = 128, seed: int = 0, split: str = "val",
                 spec: dict[str, Any] | None = None) -> None:
        self.num_scenes, self.size, self.seed = _checked_count(num_scenes), size, split_seed(seed, split)
        self.spec = make_spec({"max_objects": 4, **(spec or {})})

    def __len__(self) -> int:
        return self.num_scenes

    def read_pair(self, index: int) -> tuple[str, np.ndarray, np.ndarray | None]:
        """The scene against the light and well-lit."""
        first, second = (draw_scene(self.seed, index, self.spec, side, self.size) for side in (BACKLIT, WELL_LIT))
        return f"toyworld_{index:05d}", first, second


def draw_scene(seed: int, index: int, spec: SceneSpec, side: int, size: int) -> np.ndarray:
    """A toy scene under the lighting of a side, (size, size, 3) uint8 RGB."""
    cv2.setNumThreads(1)  # tiny pictures: OpenCV's threads cost more than they give
    lighting = "backlit" if side == BACKLIT else "well-lit"
    return render(replace(sample_scene(seed, index, spec), lighting=lighting), size).image


def squashed(image: np.ndarray, size: int) -> np.ndarray:
    """(H, W, 3) uint8 -> (size, size, 3) by Lanczos, the aspect ratio not kept."""
    if image.shape[:2] == (size, size):
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS))


def to_tensor(image: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 -> (3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def list_folder(folder: str) -> list[Path]:
    """The images of a folder by name; raises DataError when it is no folder or holds none."""
    if not Path(folder).is_dir():
        raise DataError(f"There is no folder {folder}; set the data set's folders, for example "
                        "train_dataloader.dataset.backlit=DIR train_dataloader.dataset.well_lit=DIR.")
    return list_files(folder)


def _checked_count(number: int) -> int:
    if number < 1:
        raise ConfigError(f"The data set needs at least one scene; num_scenes is {number}.")
    return number
