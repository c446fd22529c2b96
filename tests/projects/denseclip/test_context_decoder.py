"""The context decoder: shapes, what attends to what, initialization."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from clipapps.projects.denseclip.context_decoder import ContextDecoder


@pytest.fixture
def decoder() -> ContextDecoder:
    torch.manual_seed(0)
    return ContextDecoder(visual_dim=24, width=16, heads=4, layers=2).eval()


def test_queries_keep_their_number_and_width():
    decoder = ContextDecoder(visual_dim=24, query_dim=10, width=16, heads=4, layers=1)
    assert decoder(torch.rand(2, 5, 10), torch.rand(2, 7, 24)).shape == (2, 5, 10)


def test_every_parameter_gets_a_gradient(decoder):
    decoder(torch.rand(2, 5, 24), torch.rand(2, 7, 24)).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in decoder.parameters())


def test_memory_has_no_order_and_images_do_not_mix(decoder):
    text, visual = torch.rand(2, 5, 24), torch.rand(2, 7, 24)
    out = decoder(text, visual)
    torch.testing.assert_close(decoder(text, visual.flip(1)), out, atol=1e-5, rtol=0)
    changed = visual.clone()
    changed[1] = 0
    torch.testing.assert_close(decoder(text, changed)[0], out[0])
    assert (decoder(text, changed)[1] - out[1]).abs().max() > 1e-4


def test_classes_see_each_other(decoder):
    text, visual = torch.rand(1, 5, 24), torch.rand(1, 7, 24)
    changed = text.clone()
    changed[:, 4] = torch.linspace(-1, 1, 24)
    assert (decoder(changed, visual)[:, 0] - decoder(text, visual)[:, 0]).abs().max() > 1e-6


def test_dropout_only_while_training(decoder):
    text, visual = torch.rand(1, 5, 24), torch.rand(1, 7, 24)
    assert torch.equal(decoder(text, visual), decoder(text, visual))
    decoder.train()
    assert not torch.equal(decoder(text, visual), decoder(text, visual))


def test_linear_weights_are_cut_normals_and_attention_has_no_input_bias():
    decoder = ContextDecoder(visual_dim=512)
    for name, module in decoder.named_modules():
        if isinstance(module, nn.Linear):
            assert module.weight.abs().max() <= 0.04
            assert 0.016 < module.weight.std() < 0.019  # 0.02 cut at two standard deviations: 0.0176
            assert (module.bias is None) == name.endswith(("q_proj", "k_proj", "v_proj"))


def test_parameter_count_per_layer_and_total():
    """Table 6.1 of the specification: 1,051,904 a layer, 3,948,800 for three at width 1024."""
    decoder = ContextDecoder(visual_dim=1024)
    assert sum(p.numel() for p in decoder.decoder[0].parameters()) == 1_051_904
    assert sum(p.numel() for p in decoder.parameters()) == 3_948_800
