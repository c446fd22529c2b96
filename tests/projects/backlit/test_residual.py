"""RAVE's direction: its closed form, its words, and its correction."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from clipapps.errors import UserError
from clipapps.projects.backlit.residual import corrected, embed_words, interpret, report, residual_vector


@pytest.fixture
def residual():
    generator = torch.Generator().manual_seed(3)
    return residual_vector(torch.randn(6, 16, generator=generator), 5 * torch.randn(9, 16, generator=generator))


def test_threshold_lies_half_way(residual):
    half = ((1 - residual.positive @ residual.negative) / 2).sqrt()
    assert torch.allclose(residual.threshold, half, atol=1e-6)
    assert torch.allclose(residual.negative @ residual.direction, -half, atol=1e-6)


def test_correction_removes_what_the_words_share(residual):
    vocabulary = torch.randn(40, 16, generator=torch.Generator().manual_seed(4))
    found = interpret(residual, vocabulary, count=5)
    shifted = corrected(residual, vocabulary, found)
    assert abs(shifted.direction @ shifted.removed) < 1e-6
    assert shifted.direction.norm().item() == pytest.approx(1.0, abs=1e-6)
    assert torch.allclose(shifted.threshold, residual.positive @ shifted.direction)
    assert shifted.direction @ residual.direction < 1 - 1e-4


def test_report_names_the_nearest_word_first(residual):
    words = [f"word {number}" for number in range(10)]
    vocabulary = torch.randn(10, 16, generator=torch.Generator().manual_seed(5))
    vocabulary[7] = residual.direction * 3
    vocabulary[2] = -residual.direction
    told = report(residual, interpret(residual, vocabulary, count=2), words)
    assert told["well_lit"][0] == dict(word="word 7", cosine=1.0)
    assert told["backlit"][0] == dict(word="word 2", cosine=-1.0)


def test_too_few_words_are_refused(residual):
    with pytest.raises(UserError, match="too few"):
        interpret(residual, torch.randn(5, 16), count=3)


def test_words_in_batches_equal_words_alone():
    from clipapps.clip import CLIPBackbone

    clip = CLIPBackbone("tiny-rn").eval()
    embeds = embed_words(clip, ["sun", "a much longer prompt", "shade"])
    alone = torch.cat([clip.encode_text([word]) for word in ("sun", "a much longer prompt", "shade")])
    assert torch.allclose(F.normalize(embeds, dim=1), F.normalize(alone, dim=1), atol=1e-5)
