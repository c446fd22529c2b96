"""Training of the enhancement network with pairs: ours, of neither paper. The shipped weights are trained this way."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.model import BaseModel
from torch import Tensor
from torch.utils.data import Dataset

from clipapps.data.images import read_image
from clipapps.data.inputs import list_files
from clipapps.errors import DataError
from clipapps.projects.backlit.backlighting import BacklightingRanges, backlight
from clipapps.projects.backlit.datasets import LightingPairs, draw_scene, to_tensor
from clipapps.projects.backlit.models import load_network, predictions
from clipapps.projects.backlit.network import EnhancementNetwork, enhance, training_layout
from clipapps.registry import DATASETS, MODELS
from clipapps.toyworld.datasets import split_seed
from clipapps.toyworld.scene import make_spec

WELL_LIT = 1
#: photos inside Python packages: to train on, and never trained on
TRAIN_PHOTOS = (("matplotlib", "mpl-data/sample_data", ("grace_hopper.jpg",)),
                ("sklearn", "datasets/images", ("china.jpg", "flower.jpg")))
HELD_OUT_PHOTOS = (("skimage", "data", ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png",
                                        "rocket.jpg")),)
_LONGEST_SIDE = 1024


def installed_photos(listed: Sequence[tuple[str, str, tuple[str, ...]]]) -> list[Path]:
    """Those of the listed photos (package, folder, names) whose package is installed; nothing is imported."""
    found = []
    for package, folder, names in listed:
        spec = importlib.util.find_spec(package)
        root = None if spec is None or spec.origin is None else Path(spec.origin).parent / folder
        found += [root / name for name in names if root is not None and (root / name).is_file()]
    return found


@DATASETS.register_module(name="BacklitSyntheticPairs")
class SyntheticPairs(Dataset):
    """Random parts of free photos, well-lit and with synthetic backlighting; every index is another draw.

    The photos are those of `folders`, and the ones that installed packages hold (`TRAIN_PHOTOS`).

    A sample: `inputs`, `target` (3, size, size) uint8 RGB, `light_map` (1, size, size) float32, `sample_idx`.

    Args:
        num_samples: length; index i is drawn from (seed, i) alone.
        size: side in pixels.
        folders: of well-lit photos. toyworld: share of the samples that are toy scenes.
        seed: of the draws. ranges: keys of `BacklightingRanges`.

    >>> sample = SyntheticPairs(num_samples=4, size=32)[0]
    >>> sample["inputs"].shape, sample["light_map"].shape
    (torch.Size([3, 32, 32]), torch.Size([1, 32, 32]))
    """

    metainfo: dict[str, Any] = {}  # noqa: RUF012  never changed

    def __init__(self, num_samples: int, size: int = 128, folders: Sequence[str] = (), toyworld: float = 0.1,
                 seed: int = 0, ranges: dict[str, Any] | None = None) -> None:
        self.num_samples, self.size, self.toyworld, self.seed = num_samples, size, toyworld, seed
        self.files = [*(file for folder in folders for file in list_files(folder)),
                      *installed_photos(TRAIN_PHOTOS)]
        self.ranges, self.spec = BacklightingRanges(**(ranges or {})), make_spec({"max_objects": 4})
        if not self.files:
            raise DataError("There are no photos to train on; name a folder with train_dataloader.dataset.folders.")

    def __len__(self) -> int:
        return self.num_samples

    @cached_property
    def photos(self) -> list[np.ndarray]:
        """The photos in memory, at most 1024 pixels wide or high."""
        return [_reduced(read_image(file)) for file in self.files]

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        rng = np.random.default_rng((self.seed, index))
        pair = backlight(self.draw(rng), rng, self.ranges)
        return dict(inputs=to_tensor(pair.backlit), target=to_tensor(pair.target),
                    light_map=torch.from_numpy(pair.light_map)[None], sample_idx=index)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """A random part of a random photo, mirrored or not, brightness and color slightly changed; (size, size, 3)."""
        if rng.random() < self.toyworld:
            scene = int(rng.integers(1_000_000))
            return draw_scene(split_seed(self.seed, "train"), scene, self.spec, WELL_LIT, self.size)
        photo = self.photos[int(rng.integers(len(self.photos)))]
        height, width = photo.shape[:2]
        side = min(height, width) if rng.random() < 0.3 else \
            int(rng.uniform(min(self.size, height, width), min(height, width) + 1))
        top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        part = cv2.resize(photo[top:top + side, left:left + side], (self.size, self.size),
                          interpolation=cv2.INTER_AREA)
        if rng.random() < 0.5:
            part = part[:, ::-1]
        gains = rng.uniform(0.85, 1.1) * rng.uniform(0.95, 1.05, size=3)
        changed = 255 * (part.astype(np.float32) / 255) ** rng.uniform(0.75, 1.1) * gains
        return np.ascontiguousarray(np.clip(changed + 0.5, 0, 255).astype(np.uint8))


@DATASETS.register_module(name="BacklitSyntheticTestPairs")
class SyntheticTestPairs(LightingPairs):
    """Photos that no training here sees (`HELD_OUT_PHOTOS`), each under several fixed draws of backlighting.

    Args:
        draws: of each photo. longest_side: pixels. seed: of the draws.
    """

    def __init__(self, draws: int = 4, longest_side: int = 256, seed: int = 1234) -> None:
        self.draws, self.longest_side, self.seed = draws, longest_side, seed
        self.files = installed_photos(HELD_OUT_PHOTOS)

    def __len__(self) -> int:
        return self.draws * len(self.files)

    def read_pair(self, index: int) -> tuple[str, np.ndarray, np.ndarray | None]:
        """The photo with synthetic backlighting and as it was."""
        place, draw = divmod(index, self.draws)
        photo = _reduced(read_image(self.files[place]), self.longest_side)
        pair = backlight(photo, np.random.default_rng((self.seed, index)), BacklightingRanges(untouched=0.0))
        return f"{self.files[place].stem}_{draw}", pair.backlit, pair.target


def _reduced(photo: np.ndarray, longest: int = _LONGEST_SIDE) -> np.ndarray:
    scale = longest / max(photo.shape[:2])
    if scale >= 1:
        return photo
    size = (max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale)))
    return cv2.resize(photo, size, interpolation=cv2.INTER_AREA)


@MODELS.register_module()
class BacklitPairedEnhancer(BaseModel):
    """The enhancement network trained with pairs: no CLIP, no guidance.

    The loss: mean absolute difference of enhanced photo and target, plus `map_weight` times that of the logarithms of
    the light map and of the one that the backlighting used.

    Args:
        network: an EnhancementNetwork or its config. network_weights: a file to start it from.
        map_weight: see above. map_floor: added to maps before the logarithm.

    >>> model = BacklitPairedEnhancer(dict(type=EnhancementNetwork, start_bias=1.0))
    >>> images, light_map = torch.randint(0, 255, (2, 3, 32, 32), dtype=torch.uint8), torch.ones(2, 1, 32, 32)
    >>> sorted(model(images, mode="loss", target=images, light_map=light_map))
    ['loss', 'loss_map', 'loss_photo']
    """

    def __init__(self, network: EnhancementNetwork | dict[str, Any], *, network_weights: str | None = None,
                 map_weight: float = 0.3, map_floor: float = 0.05, init_cfg: dict[str, Any] | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.network: EnhancementNetwork = MODELS.build(network) if isinstance(network, dict) else network
        self.network_weights, self.map_weight, self.map_floor = network_weights, map_weight, map_floor

    def init_weights(self) -> None:
        """New network weights, or those of the file."""
        self.network.reset_parameters()
        if self.network_weights is not None:
            load_network(self.network, self.network_weights)
        self._is_init = True

    def forward(self, inputs: Tensor, mode: str = "tensor", target: Tensor | None = None,
                light_map: Tensor | None = None, **sample: Any) -> Any:
        """Enhanced photos and light maps, losses, or predictions; `inputs` and `target` (B, 3, H, W) uint8 RGB."""
        images = (inputs.float() / 255).contiguous(memory_format=training_layout(inputs.device))
        found = self.network(images).float()
        enhanced = enhance(images, found, "inward")
        if mode == "loss":
            assert target is not None
            assert light_map is not None
            losses = dict(loss_photo=(enhanced - target.float() / 255).abs().mean(), loss_map=self.map_weight * (
                torch.log(found + self.map_floor) - torch.log(light_map + self.map_floor)).abs().mean())
            return dict(losses, loss=sum(losses.values()))
        if mode == "predict":
            return predictions(images, enhanced, found, target=target, **sample)
        return enhanced, found
