"""The block loop: two real insertions, written against the public API alone, train."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from clipapps.clip import CLIPBackbone, Insertion
from clipapps.errors import UserError

Build = Callable[..., CLIPBackbone]


class DeepPrompts(Insertion, nn.Module):
    """Learnable tokens appended for one block at a time (visual prompt tuning, deep variant)."""

    def __init__(self, depth: int, count: int, width: int) -> None:
        super().__init__()
        self.prompts = nn.Parameter(0.02 * torch.randn(depth, count, width))

    def before(self, index: int, tokens: Tensor) -> Tensor:
        return torch.cat([tokens, self.prompts[index].expand(len(tokens), -1, -1)], dim=1)

    def after(self, index: int, tokens: Tensor) -> Tensor:
        return tokens[:, : -self.prompts.shape[1]]


class TemporalMixing(Insertion, nn.Module):
    """A depthwise convolution over time in front of attention; frames of one clip are neighbors in the batch."""

    def __init__(self, width: int, frames: int) -> None:
        super().__init__()
        self.frames = frames
        self.mix = nn.Conv1d(width, width, kernel_size=3, padding=1, groups=width, bias=False)
        nn.init.zeros_(self.mix.weight)

    def attend(self, index: int, tokens: Tensor, attention: Callable[[Tensor], Tensor]) -> Tensor:
        count, width = tokens.shape[1:]
        clips = tokens.unflatten(0, (-1, self.frames)).permute(0, 2, 3, 1)  # (clips, N, C, T)
        mixed = self.mix(clips.flatten(0, 1)).unflatten(0, (-1, count)).permute(0, 3, 1, 2)  # (clips, T, N, C)
        return attention(tokens + mixed.flatten(0, 1))


def _fit(backbone: CLIPBackbone, insertion: DeepPrompts | TemporalMixing, images: Tensor,
         target: Tensor) -> list[float]:
    optimizer = torch.optim.Adam(insertion.parameters(), lr=1e-2)
    losses = []
    for _ in range(15):
        loss = (backbone(images, insertions=[insertion]).pooled - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_deep_prompts_train_with_a_frozen_tower(build: Build) -> None:
    backbone = build("vit_token", trainable="none")
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    prompts = DeepPrompts(depth=3, count=4, width=32)
    losses = _fit(backbone, prompts, torch.randn(4, 3, 32, 32), torch.zeros(4, 24))
    assert losses[-1] < 0.9 * losses[0]
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())
    features = backbone(torch.randn(1, 3, 32, 40), insertions=[prompts])
    assert features.dense.shape[-2:] == (4, 5) and features.tokens.shape[1] == 21


def test_temporal_mixing_starts_as_identity_and_trains(build: Build) -> None:
    backbone = build("vit_token", trainable="none")
    mixing, images = TemporalMixing(width=32, frames=4), torch.randn(8, 3, 32, 32)
    # Not bit for bit: the mixed tokens reach attention in another memory layout.
    torch.testing.assert_close(backbone(images, insertions=[mixing]).pooled, backbone(images).pooled)
    losses = _fit(backbone, mixing, images, torch.zeros(8, 24))
    assert losses[-1] < 0.95 * losses[0]
    # Information flows between frames: a change in frame 0 reaches frame 1 of its clip, never the other clip.
    changed = images.clone()
    changed[0] += 1
    moved = (backbone(changed, insertions=[mixing]).pooled - backbone(images, insertions=[mixing]).pooled).abs().sum(-1)
    assert moved[1] > 0 and moved[4:].max() == 0


def test_prompts_may_be_appended_once_before_the_first_norm(build: Build) -> None:
    backbone = build("vit_token", trainable="none")

    class Shallow(Insertion):
        def embed(self, tokens: Tensor) -> Tensor:
            return torch.cat([tokens, torch.ones(len(tokens), 2, tokens.shape[-1])], dim=1)

    plain, prompted = backbone(torch.ones(1, 3, 32, 32)), backbone(torch.ones(1, 3, 32, 32), insertions=[Shallow()])
    assert prompted.dense.shape == plain.dense.shape and prompted.tokens.shape == plain.tokens.shape
    assert not torch.equal(prompted.pooled, plain.pooled)


def test_insertions_nest_in_order(vit: CLIPBackbone) -> None:
    calls: list[str] = []

    class Tracer(Insertion):
        def __init__(self, name: str) -> None:
            self.name = name

        def attend(self, index: int, tokens: Tensor, attention: Callable[[Tensor], Tensor]) -> Tensor:
            calls.append(self.name)
            return attention(tokens)

    vit(torch.zeros(1, 3, 32, 32), insertions=[Tracer("inner"), Tracer("outer")])
    assert calls == ["outer", "inner"] * 3


def test_text_tower_takes_the_same_insertions(build: Build) -> None:
    backbone = build("vit_token", trainable="none")

    class Shift(Insertion):
        def before(self, index: int, tokens: Tensor) -> Tensor:
            return tokens + index

    assert not torch.equal(backbone.encode_text(["star"], insertions=[Shift()]), backbone.encode_text(["star"]))


def test_gradient_checkpointing_keeps_gradients_of_insertions(build: Build) -> None:
    gradients = []
    for enabled in (False, True):
        backbone = build("vit_token", grad_checkpoint=enabled)
        torch.manual_seed(3)
        prompts = DeepPrompts(3, 2, 32)
        backbone(torch.randn(2, 3, 32, 32), insertions=[prompts]).pooled.sum().backward()
        gradients.append(prompts.prompts.grad)
    torch.testing.assert_close(*gradients)


def test_a_resnet_refuses_insertions(resnet: CLIPBackbone) -> None:
    with pytest.raises(UserError, match="this image tower is a ResNet"):
        resnet(torch.zeros(1, 3, 64, 64), insertions=[Insertion()])
