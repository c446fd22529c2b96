"""What inference costs, counted instead of timed; mixed precision; memory formats."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from clipapps.projects.denseclip.maskclip import MaskCLIPSegmentor
from clipapps.registry import MODELS

SIZE = (64, 64)


def operations(model, images) -> int:
    """Floating-point operations of one prediction after a first one that fills the caches."""
    with torch.no_grad():
        model.encode_decode(images, [dict(img_shape=SIZE)])
        with FlopCounterMode(display=False) as counter:
            model.encode_decode(images, [dict(img_shape=SIZE)])
    return counter.get_total_flops()


def names(count: int) -> list[str]:
    return [f"thing number {index}" for index in range(count)]


def build_for(segmentor_config, count: int, **changes):
    torch.manual_seed(0)
    return MODELS.build(segmentor_config(class_names=names(count), **changes)).eval()


@pytest.mark.parametrize("mode", ["language", "template"])
def test_classes_cost_their_score_map_and_what_reads_it(segmentor_config, batch, mode):
    """Each further class: E x h x w for its map, one channel of the lateral, one row of the classifier; no text."""
    images = batch[0][:1]
    options = dict(prompt_mode=mode, context_decoder=None)
    costs = {count: operations(build_for(segmentor_config, count, **options), images) for count in (4, 16, 64)}
    embed_dim, coarse, width, fine = 16, 2 * 2, 8, 16 * 16
    per_class = 2 * (embed_dim * coarse + width * coarse + width * fine)
    assert costs[16] - costs[4] == 12 * per_class and costs[64] - costs[4] == 60 * per_class


def test_in_post_mode_only_attention_between_classes_grows_faster_than_their_number(segmentor_config, batch):
    """The context decoder has K queries: linear layers for each, self-attention between them; no text."""
    images = batch[0][:1]
    costs = [operations(build_for(segmentor_config, count), images) for count in (8, 16, 24, 32)]
    first = [b - a for a, b in zip(costs, costs[1:], strict=False)]
    second = {b - a for a, b in zip(first, first[1:], strict=False)}
    # 2 layers x (queries by keys, attention by values) x 2 operations x width 16 = 128 K^2; its second difference
    # over steps of 8 classes is 2 x 128 x 8^2
    assert second == {2 * 128 * 8**2}


@pytest.mark.parametrize("count", [2, 40])
def test_text_is_encoded_once_for_any_number_of_images(segmentor_config, batch, monkeypatch, count):
    model, calls = build_for(segmentor_config, count), []
    original = model.backbone.encode_text_embeddings
    monkeypatch.setattr(model.backbone, "encode_text_embeddings",
                        lambda *args, **kwargs: calls.append(len(args[0])) or original(*args, **kwargs))
    with torch.no_grad():
        for _ in range(4):
            model.encode_decode(batch[0], [dict(img_shape=SIZE)])
    assert calls == [count]


def test_training_free_costs_are_those_of_the_image_and_the_scores(segmentor_config, batch):
    backbone = segmentor_config()["backbone"]
    costs = {}
    for count in (4, 16):
        torch.manual_seed(0)
        costs[count] = operations(MaskCLIPSegmentor(dict(backbone, dense="value"), names(count)).eval(), batch[0][:1])
    assert costs[16] - costs[4] == 12 * 2 * 16 * 2 * 2


@pytest.mark.parametrize("vit", [False, True])
def test_bfloat16_predicts_and_trains_close_to_float32(build, batch, vit):
    model = build(vit, gamma=1.0).eval()
    images, samples = batch
    with torch.no_grad():
        exact = model.encode_decode(images, [dict(img_shape=SIZE)])
        scores = model.encode(images).score_map
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = model.encode_decode(images, [dict(img_shape=SIZE)])
            rounded_scores = model.encode(images).score_map
    assert rounded_scores.dtype == torch.float32
    assert (rounded_scores - scores).abs().max() < 0.03  # cosines; bfloat16 has 8 bits
    assert (rounded.float() - exact).abs().max() < 0.05 * exact.abs().max()
    expected = model.parse_losses(model.loss(images, samples))[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model.parse_losses(model.loss(images, samples))[0]
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=0.03)
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters() if parameter.grad is not None)


def test_scores_of_nothing_stay_finite_in_half_precision(build):
    """A black image and a zero embedding: norms are clamped in float32, where 1e-12 exists."""
    model = build().eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        features = model.encode(torch.zeros(1, 3, *SIZE))
    assert torch.isfinite(features.score_map).all()


@pytest.mark.parametrize("vit", [False, True])
def test_channels_last_changes_the_layout_and_nothing_else(build, batch, vit):
    plain, other = build(vit).eval(), build(vit, channels_last=True).eval()
    weight = other.backbone.model.visual.conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    other.load_state_dict(plain.state_dict())
    assert weight.is_contiguous(memory_format=torch.channels_last)  # also after loading
    with torch.no_grad():
        expected, logits = plain(batch[0], mode="tensor"), other(batch[0], mode="tensor")
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)
