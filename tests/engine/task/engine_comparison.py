"""Two checkpoints compared bit for bit: all that decides how training goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from clipapps.engine import checkpoint

#: dropout, batch norm, EMA, clipping, and random augmentation from three generators
OVERRIDES = ("train_dataloader.dataset.augment=True", "optim_wrapper.clip_grad.max_norm=1.0",
             "default_hooks.checkpoint.max_keep=9",
             "custom_hooks=[{'type':'EMAHook','momentum':0.1,'begin_iter':5}]")
COMPARED = ("state_dict", "ema_state_dict", "optimizer", "param_schedulers", "random_state")


def leaves(node: Any, path: str = "") -> dict[str, Any]:
    if isinstance(node, dict):
        return {key: leaf for name, item in node.items() for key, leaf in leaves(item, f"{path}.{name}").items()}
    if isinstance(node, list):
        return {key: leaf for place, item in enumerate(node) for key, leaf in leaves(item, f"{path}.{place}").items()}
    return {path: node}


def differences(first: Path, second: Path) -> list[str]:
    """Names of everything that differs between two checkpoints."""
    a, b = (leaves({key: checkpoint.load(file)[key] for key in COMPARED}) for file in (first, second))
    assert a.keys() == b.keys()
    assert len(a) > 600
    return [key for key in a
            if not (torch.equal(a[key], b[key]) if isinstance(a[key], torch.Tensor) else a[key] == b[key])]
