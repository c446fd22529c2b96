"""Small video classifiers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

NAMES = ("moves left", "moves right", "turns round")
TEXT = dict(context_length=24, vocab_size=49408, width=32, heads=2, layers=1)
VIT = dict(embed_dim=64, vision_cfg=dict(layers=2, width=64, head_width=32, patch_size=8, image_size=32),
           text_cfg=TEXT, quick_gelu=True)


@pytest.fixture
def small_config() -> Callable[..., dict[str, Any]]:
    """`small_config(**changes)`: config of a small ILAClassifier for clips (B, 3, 3, 32, 32)."""
    from clipapps.clip import CLIPBackbone
    from clipapps.projects.ila.models import ILAClassifier

    def config(**changes: Any) -> dict[str, Any]:
        backbone = dict(type=CLIPBackbone, arch=VIT, trainable="none", **changes.pop("backbone", {}))
        return {**dict(type=ILAClassifier, backbone=backbone, num_frames=3, alignment=dict(channels=16), integration={},
                       head=dict(class_names=NAMES, prompts=dict(layers=1))), **changes}

    return config


@pytest.fixture
def small_model(small_config) -> Callable[..., Any]:
    """`small_model(**changes)`: the same, built, with nothing left at zero."""
    from clipapps.registry import MODELS

    def build(**changes: Any) -> Any:
        torch.manual_seed(0)
        model = MODELS.build(small_config(**changes))
        for parameter in model.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.1)
        return model

    return build
