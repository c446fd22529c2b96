"""The tiny CLIP architectures that ship with weights, pre-trained on the toy world by projects/pretrain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_TEXT = {"context_length": 32, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 3}

TINY_ARCHS: dict[str, dict[str, Any]] = {
    "tiny-rn": {
        "embed_dim": 128,
        "vision_cfg": {"layers": [1, 1, 1, 1], "width": 24, "head_width": 64, "image_size": 128, "patch_size": None},
        "text_cfg": _TEXT,
    },
    # 16 x 16 tokens and the class token
    "tiny-vit": {
        "embed_dim": 128,
        "vision_cfg": {"layers": 4, "width": 192, "head_width": 32, "image_size": 128, "patch_size": 8},
        "text_cfg": _TEXT,
    },
}

ASSETS = Path(__file__).parent / "assets"


def builtin_weights(arch: str) -> Path:
    """The file of an architecture's built-in weights (it may be absent while they are being trained)."""
    return ASSETS / f"{arch}.safetensors"
