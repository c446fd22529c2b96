"""Weights without their CLIP's own: which files of CLIPs they were trained on, and how a model gets them back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import Tensor, nn

from clipapps.clip import CLIPBackbone
from clipapps.errors import WeightsError

#: entry of a weights file's metadata: prefix of a CLIP's names in the model -> sha256 of its file
KEY = "clip_files"
#: batch norm's counters, which nothing uses and no file holds
COUNTER = "num_batches_tracked"


def add_clip(model: nn.Module, state: Mapping[str, Tensor], files: str, source: str | Path) -> dict[str, Tensor]:
    """The weights of a file of `save_trained_part`, completed by the CLIP that they were trained on.

    Args:
        model: its `CLIPBackbone`s load their own weights.
        state: what the file holds; files: its entry `KEY`; source: the file, for messages.

    Raises:
        WeightsError: the model's CLIP is another one.
    """
    digests = json.loads(files)
    for prefix, backbone in backbones(model):
        if digest(backbone) != digests.get(prefix):
            raise WeightsError(f"{source} holds what was trained on another CLIP than this model's "
                               f"{backbone.weights!r}, or on another version of it. Take the config of these weights.")
        backbone.init_weights()
    own = model.state_dict()
    return {**{name: value for name, value in own.items() if name.startswith(tuple(digests)) or name.endswith(COUNTER)},
            **state}


def backbones(model: nn.Module) -> Iterator[tuple[str, CLIPBackbone]]:
    """Every CLIP of a model with the prefix of its names."""
    for name, module in model.named_modules():
        if isinstance(module, CLIPBackbone):
            yield f"{name}." if name else "", module


def digest(backbone: CLIPBackbone) -> str:
    """sha256 of the file that a CLIP was loaded from."""
    with open(backbone.weights_file(), "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
