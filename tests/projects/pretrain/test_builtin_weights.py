"""The gate that weights pass before they ship: unseen scenes, zero-shot."""

from __future__ import annotations

import pytest

from clipapps.clip import CLIPBackbone, builtin_weights
from clipapps.projects.pretrain.evaluate import evaluate
from clipapps.toyworld import ToyWorldScenes


def test_tiny_resnet_knows_categories_colors_and_lighting() -> None:
    scenes = ToyWorldScenes(num_scenes=200, size=128, split="test")
    figures = evaluate(CLIPBackbone.from_pretrained("tiny-rn", "builtin"), scenes)
    assert figures["category_acc"] >= 0.93  # 97.9 % of 2000
    assert figures["color_acc"] >= 0.97
    assert figures["lighting_acc"] >= 0.97  # 99.2 % of 2000


@pytest.mark.xfail(strict=True, reason="The distilled tiny ViT reached 58 % of categories; the gate is 80 %.")
def test_tiny_vit_ships() -> None:
    assert builtin_weights("tiny-vit").is_file()
