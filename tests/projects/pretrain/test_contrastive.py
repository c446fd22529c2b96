"""The loss against formulas written out by hand, and a few training steps."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from mmengine.dataset import default_collate
from mmengine.optim import OptimWrapper

from clipapps.clip import CLIPBackbone
from clipapps.projects.pretrain.models import ContrastivePretrainer, contrastive_loss, text_number
from clipapps.toyworld import ToyWorldScenes

SMALL = dict(embed_dim=16, vision_cfg=dict(layers=[1, 1, 1, 1], width=8, head_width=8, image_size=64, patch_size=None),
             text_cfg=dict(context_length=32, vocab_size=49408, width=16, heads=2, layers=1))


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    torch.manual_seed(0)
    yield


def unit(*shape: int) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, dtype=torch.float64), dim=-1)


def test_without_repeats_it_is_the_loss_of_clip() -> None:
    images, texts = unit(5, 8), unit(5, 8)
    loss = contrastive_loss(images, texts, 7.0, torch.arange(5))
    logits = 7.0 * images @ texts.t()
    rows = sum(-math.log(math.exp(logits[i, i]) / sum(math.exp(v) for v in logits[i])) for i in range(5)) / 5
    columns = sum(-math.log(math.exp(logits[i, i]) / sum(math.exp(v) for v in logits[:, i])) for i in range(5)) / 5
    assert float(loss) == pytest.approx((rows + columns) / 2, abs=1e-12)


def test_equal_meanings_share_the_target() -> None:
    images, texts = unit(4, 8), unit(4, 8)
    meaning = torch.tensor([3, 9, 3, 3])
    logits = 5.0 * images @ texts.t()
    total = 0.0
    for table in (logits, logits.t()):
        for i in range(4):
            positives = [j for j in range(4) if meaning[j] == meaning[i]]
            log_norm = math.log(sum(math.exp(v) for v in table[i]))
            total += sum(log_norm - float(table[i, j]) for j in positives) / len(positives)
    assert float(contrastive_loss(images, texts, 5.0, meaning)) == pytest.approx(total / 8, abs=1e-12)


def test_a_batch_of_one_meaning_cannot_be_wrong_about_order() -> None:
    images, texts, same = unit(3, 4), unit(3, 4), torch.zeros(3, dtype=torch.long)
    shuffled = texts[[2, 0, 1]]
    assert float(contrastive_loss(images, texts, 9.0, same)) == pytest.approx(
        float(contrastive_loss(images, shuffled, 9.0, same)), abs=1e-12)


def test_gradients_match_finite_differences() -> None:
    images, texts = unit(4, 6).requires_grad_(), unit(4, 6).requires_grad_()
    scale = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    meaning = torch.tensor([0, 1, 0, 2])
    assert torch.autograd.gradcheck(lambda a, b, s: contrastive_loss(a, b, s, meaning), (images, texts, scale))


def batch(count: int = 8) -> dict:
    dataset = ToyWorldScenes(num_scenes=count, size=64)
    return default_collate([dataset[i] for i in range(count)])


def test_the_scale_is_clamped_at_a_hundred() -> None:
    model = ContrastivePretrainer(dict(type=CLIPBackbone, arch=SMALL))
    with torch.no_grad():
        model.backbone.model.logit_scale.fill_(9.0)
    out = model(**batch(), mode="loss")
    assert float(out["logit_scale"]) == pytest.approx(100.0, rel=1e-5)


def test_a_few_steps_learn_the_batch_and_move_both_towers() -> None:
    model = ContrastivePretrainer(dict(type=CLIPBackbone, arch=SMALL))
    before = {name: value.clone() for name, value in model.named_parameters()}
    optimizer = OptimWrapper(torch.optim.AdamW(model.parameters(), lr=3e-3))
    data = batch()
    losses = [model.train_step(data, optimizer)["loss"].item() for _ in range(6)]
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[0] == pytest.approx(math.log(8), abs=3.0) and losses[-1] < 0.7 * losses[0], losses
    moved = {name.split(".")[2] for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert {"visual", "transformer", "token_embedding", "positional_embedding", "logit_scale"} <= moved


def test_padding_is_cut_without_changing_the_embedding() -> None:
    model = ContrastivePretrainer(dict(type=CLIPBackbone, arch=SMALL)).eval()
    captions = ["a red star", "a photo of a large blue cup on the beach"]
    with torch.no_grad():
        expected = model.backbone.encode_text(captions, normalize=True)
        assert torch.allclose(model.encode_captions(captions), expected, atol=1e-6)


def test_low_precision_agrees_roughly() -> None:
    full = ContrastivePretrainer(dict(type=CLIPBackbone, arch=SMALL)).eval()
    half = ContrastivePretrainer(full.backbone, precision="bfloat16", channels_last=True).eval()
    data = batch(4)
    with torch.no_grad():
        exact, rough = full(**data)[0], half(**data)[0]
    assert exact.dtype == rough.dtype == torch.float32
    assert float((exact * rough).sum(dim=-1).min()) > 0.99


def test_texts_have_numbers_of_their_own_that_no_process_or_place_changes() -> None:
    assert text_number("a star") == text_number("a star") == 977366328649536807
    assert text_number("a star") != text_number("a heart")
