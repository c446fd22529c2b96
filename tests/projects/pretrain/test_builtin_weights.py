"""The gate that weights pass before they ship: unseen scenes, zero-shot."""

from __future__ import annotations

import torch

from clipapps.clip import CLIPBackbone, builtin_weights
from clipapps.clip.tiny import TINY_ARCHS
from clipapps.projects.pretrain.evaluate import evaluate
from clipapps.toyworld import ToyWorldScenes


def test_tiny_resnet_knows_categories_colors_and_lighting() -> None:
    scenes = ToyWorldScenes(num_scenes=200, size=128, split="test")
    figures = evaluate(CLIPBackbone.from_pretrained("tiny-rn", "builtin"), scenes)
    assert figures["category_acc"] >= 0.93  # 97.9 % of 2000
    assert figures["color_acc"] >= 0.97
    assert figures["lighting_acc"] >= 0.97  # 99.2 % of 2000


def test_tiny_vit_knows_categories_at_both_sizes_that_it_was_trained_at() -> None:
    clip = CLIPBackbone.from_pretrained("tiny-vit", "builtin")
    figures = evaluate(clip, ToyWorldScenes(num_scenes=200, size=128, split="test"))
    assert figures["category_acc"] >= 0.88  # 95 % of 2000; the gate is 80 %
    assert figures["color_acc"] >= 0.97 and figures["lighting_acc"] >= 0.96
    assert evaluate(clip, ToyWorldScenes(num_scenes=200, size=64, split="test"))["category_acc"] >= 0.8


def test_both_towers_fit_their_size_and_speak_of_the_same_words() -> None:
    assert sum(builtin_weights(arch).stat().st_size for arch in TINY_ARCHS) <= 20e6
    resnet, vit = (CLIPBackbone.from_pretrained(arch, "builtin") for arch in ("tiny-rn", "tiny-vit"))
    names = ["a red star", "a cup on a beach"]
    assert torch.allclose(resnet.encode_text(names), vit.encode_text(names), atol=1e-6)
