"""The controls: words that mean nothing, and an auxiliary loss without words."""

from __future__ import annotations

import pytest
import torch

from clipapps.engine.config import load_config
from clipapps.errors import UserError
from clipapps.registry import MODELS


def build(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return MODELS.build(load_config(f"denseclip/{name}", ["model.backbone.weights=None"]).model).eval()


def test_random_text_has_the_lengths_of_the_class_embeddings_and_other_directions() -> None:
    model, control = build("denseclip_fpn_tiny_toyworld"), build("denseclip_fpn_tiny_toyworld_random_text")
    control.load_state_dict(model.state_dict(), strict=False)
    with torch.no_grad():
        words, noise = model.shared_text_embeddings()[0], control.shared_text_embeddings()[0]
    torch.testing.assert_close(noise.norm(dim=-1), words.norm(dim=-1))
    assert torch.cosine_similarity(noise, words).abs().max() < 0.5
    assert torch.equal(control.directions, build("denseclip_fpn_tiny_toyworld_random_text").directions)
    with pytest.raises(UserError, match="random vectors"):
        control.shared_text_embeddings(["a cup"])


def test_no_gradient_reaches_the_contexts_through_random_text() -> None:
    control = build("denseclip_fpn_tiny_toyworld_random_text").train()
    control.encode(torch.rand(1, 3, 64, 64)).score_map.sum().backward()
    assert control.contexts.grad is None
    assert control.gamma.grad is not None


def test_auxiliary_baseline_has_one_more_loss_of_the_same_weight() -> None:
    model, control = build("denseclip_fpn_tiny_toyworld"), build("fpn_tiny_toyworld_auxiliary")
    assert control.auxiliary_head.loss_decode.loss_weight == model.identity_head.loss_decode.loss_weight == 0.4
    assert control.auxiliary_head.num_classes == 11
