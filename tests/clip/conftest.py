"""Small random models, one for each family of towers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from clipapps.clip import CLIPBackbone

TEXT: dict[str, Any] = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 2}
VIT: dict[str, Any] = {"layers": 3, "width": 32, "head_width": 8, "patch_size": 8, "image_size": 32}
RESNET: dict[str, Any] = {"layers": [1, 2, 1, 1], "width": 8, "head_width": 8, "image_size": 64, "patch_size": None}
SIGLIP: dict[str, Any] = {
    "embed_dim": 192, "custom_text": True, "init_logit_bias": -10.0,
    "vision_cfg": {"image_size": 224, "timm_model_name": "vit_tiny_patch16_224", "timm_pool": "map",
                   "timm_proj": "none"},
    "text_cfg": {**TEXT, "no_causal_mask": True, "proj_bias": True, "pool_type": "last"},
}
FAMILIES: dict[str, dict[str, Any]] = {
    "resnet": {"embed_dim": 24, "vision_cfg": RESNET, "text_cfg": TEXT},
    "vit_token": {"embed_dim": 24, "vision_cfg": VIT, "text_cfg": TEXT},
    "vit_token_quickgelu": {"embed_dim": 24, "vision_cfg": VIT, "text_cfg": TEXT, "quick_gelu": True},
    "vit_average": {"embed_dim": 24, "vision_cfg": {**VIT, "pool_type": "avg", "final_ln_after_pool": True,
                                                    "ls_init_value": 0.1}, "text_cfg": TEXT},
    "siglip_timm": SIGLIP,
}


def build_family(family: str, **options: Any) -> CLIPBackbone:
    """A random model whose norms, biases, and batch statistics are not at their trivial initial values."""
    torch.manual_seed(0)
    backbone = CLIPBackbone(copy.deepcopy(FAMILIES[family]), **options)
    with torch.no_grad():
        for name, tensor in backbone.model.state_dict().items():
            if tensor.is_floating_point() and tensor.ndim == 1 and "running_var" not in name:
                tensor.add_(0.1 * torch.randn_like(tensor))
    return backbone.eval()


@pytest.fixture(scope="session", params=list(FAMILIES))
def any_backbone(request: pytest.FixtureRequest) -> CLIPBackbone:
    """Read-only: one model of each family."""
    return build_family(request.param)


@pytest.fixture(scope="session")
def vit() -> CLIPBackbone:
    """Read-only class-token ViT."""
    return build_family("vit_token")


@pytest.fixture(scope="session")
def resnet() -> CLIPBackbone:
    """Read-only CLIP ResNet."""
    return build_family("resnet")


@pytest.fixture(scope="session")
def build() -> Callable[..., CLIPBackbone]:
    """Builds a fresh model: build(family, **constructor options)."""
    return build_family


@pytest.fixture(scope="session")
def families() -> dict[str, dict[str, Any]]:
    """open_clip configs of the families."""
    return FAMILIES
