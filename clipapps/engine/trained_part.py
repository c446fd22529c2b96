"""What a training added to a frozen CLIP, in half precision: small, for those who have that CLIP, as this package does.

    python -m clipapps.engine.trained_part denseclip/denseclip_fpn_tiny_toyworld best.safetensors small.safetensors
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import init_default_scope
from torch import nn

from clipapps.clip import CLIPBackbone
from clipapps.engine import checkpoint
from clipapps.engine.clip_files import COUNTER, KEY, backbones, digest
from clipapps.engine.config import load_config
from clipapps.errors import WeightsError
from clipapps.registry import MODELS


def save_trained_part(model: nn.Module, path: str | Path, metadata: Mapping[str, Any] | None = None) -> list[str]:
    """Write a model's weights in fp16, without those that its CLIP's own file holds just so; returns the names written.

    Args:
        model: holds `CLIPBackbone`s; each with a local file, whose digest is noted, so that no other is taken for it.
        path: the safetensors file; `checkpoint.load_weights` reads it into a model of the same config.
        metadata: what the weights are, for example `dict(config="denseclip_fpn_tiny_toyworld")`.

    Raises:
        WeightsError: a value that fp16 cannot hold, or a CLIP without a file. DiskError: it cannot be written.
    """
    state, files = model.state_dict(), {}
    for prefix, backbone in backbones(model):
        fresh = CLIPBackbone.from_pretrained(backbone.arch_config, str(backbone.weights_file()))
        for name, value in fresh.state_dict().items():
            if prefix + name in state and torch.equal(state[prefix + name].cpu(), value):
                del state[prefix + name]
        files[prefix] = digest(backbone)
    state = {name: value.half() if value.is_floating_point() else value for name, value in state.items()
             if not name.endswith(COUNTER)}
    if broken := [name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()]:
        raise WeightsError(f"These tensors do not fit fp16: {', '.join(broken[:6])}.")
    checkpoint.save_weights(state, path, {**(metadata or {}), KEY: files})
    return sorted(state)


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("config", "weights", "target"):
        parser.add_argument(name)
    args = parser.parse_args()
    config = load_config(args.config)
    init_default_scope("clipapps")
    model = MODELS.build(config.model)
    checkpoint.load_weights(model, args.weights)
    save_trained_part(model, args.target, {**checkpoint.read_metadata(args.weights),
                                           "config": args.config.rpartition("/")[2].removesuffix(".py")})
    print(f"{args.target}: {Path(args.target).stat().st_size / 2**20:.2f} MiB")


if __name__ == "__main__":
    main()
