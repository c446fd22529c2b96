"""The frozen towers: nothing trains, one pass where one tower does both, one resize where sizes agree."""

from __future__ import annotations

import torch

from clipapps.clip import CLIPBackbone
from clipapps.projects.backlit.guidance import LatentPair, PromptPair
from clipapps.projects.backlit.models import BacklitEnhancer
from clipapps.projects.backlit.towers import GuidanceTowers, short_side_and_crop

TINY = dict(type=CLIPBackbone, arch="tiny-rn")


def test_one_tower_for_both_equals_two():
    torch.manual_seed(0)
    clip, images = CLIPBackbone("tiny-rn"), torch.rand(2, 3, 40, 72)
    one = GuidanceTowers(clip)
    embeds, levels = one.embed_and_levels(images)
    assert torch.allclose(embeds, one.embed(images), atol=1e-6)
    assert [tuple(level.shape[1:]) for level in levels] == [(24, 32, 32), (96, 32, 32), (192, 16, 16), (384, 8, 8),
                                                            (768, 4, 4)]
    assert all(torch.allclose(*pair, atol=1e-5) for pair in zip(levels, one.levels(images), strict=True))
    calls = []
    clip.register_forward_hook(lambda *_: calls.append(1))
    one.embed_and_levels(images)
    assert len(calls) == 1


def test_gradients_reach_the_images_and_no_tower():
    towers, images = GuidanceTowers(TINY), torch.rand(1, 3, 64, 64, requires_grad=True)
    towers.embed(images).sum().backward()
    assert images.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in towers.clip.parameters())


def test_towers_are_neither_saved_nor_trained_but_move_along():
    model = BacklitEnhancer(guidance=dict(type=PromptPair, length=4), clip=TINY)
    assert {name.split(".")[0] for name in model.state_dict()} == {"network", "guidance"}
    assert [name for name, _ in model.guidance.named_parameters()] == ["embedding"]
    model.train()
    assert not model.towers.clip.training
    model.double()
    assert next(model.towers.clip.parameters()).dtype == torch.float64


def test_prompt_rows_begin_equal_and_training_separates_them():
    model = BacklitEnhancer(guidance=dict(type=PromptPair, length=4), clip=dict(TINY, weights="builtin"))
    model.init_weights()
    embedding = model.guidance.embedding
    assert torch.equal(embedding[0], embedding[1]) and embedding.abs().sum() > 0
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    loss = model(images, mode="loss", phase="initialize", label=torch.tensor([0, 1]))["loss"]
    gradient = torch.autograd.grad(loss, embedding)[0]
    assert torch.allclose(gradient[0], -gradient[1], atol=1e-6) and gradient.abs().sum() > 0
    assert gradient[:, model.guidance.pool_index + 1:].abs().sum() == 0  # the text tower is causal


def test_frozen_pair_follows_an_update():
    pair = LatentPair(CLIPBackbone("tiny-rn", with_text=False))
    before = pair.frozen_vectors()
    assert not before.requires_grad and pair.frozen_vectors() is before
    with torch.no_grad():
        pair.embedding.add_(1)
    assert torch.equal(pair.frozen_vectors(), pair.embedding)


def test_evaluation_transform_keeps_the_aspect_ratio():
    images = torch.zeros(1, 3, 50, 100)
    images[..., 50:] = 1
    cropped = short_side_and_crop(images, (32, 32))
    assert cropped.shape == (1, 3, 32, 32) and 0.4 < cropped.mean() < 0.6
