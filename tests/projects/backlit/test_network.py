"""The enhancement network beyond its golden case: size, tiny pictures, paddings, what a map does."""

from __future__ import annotations

import pytest
import torch

from clipapps.errors import ConfigError
from clipapps.projects.backlit.network import EnhancementNetwork, enhance


def test_number_of_parameters():
    assert sum(parameter.numel() for parameter in EnhancementNetwork().parameters()) == 278_790


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (2, 2), (3, 40)])
def test_any_size_is_legal(size: tuple[int, int]):
    assert EnhancementNetwork()(torch.rand(1, 3, *size)).shape == (1, 1, *size)


def test_initialization_is_the_published_one():
    torch.manual_seed(0)
    network = EnhancementNetwork()
    assert network.condx.weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert network.condx.bias.abs().max() <= 1 / (32 * 9) ** 0.5
    assert network.PPM1.fuse[1].weight.item() == 0.25


def test_a_start_bias_leaves_photos_nearly_as_they_are():
    torch.manual_seed(0)
    photo, network = torch.rand(1, 3, 24, 24), EnhancementNetwork(start_bias=1.0)
    assert (enhance(photo, network(photo)) - photo).abs().max() < 0.02
    network.cond_add1.bias.data.zero_()
    network.reset_parameters()
    assert network.cond_add1.bias.item() == 1


def test_padding_changes_the_border_only():
    torch.manual_seed(1)
    network, photo = EnhancementNetwork("zeros"), torch.rand(1, 3, 64, 64)
    for block in network.modules():  # no pooling, so that nothing travels farther than the halo
        if isinstance(block, torch.nn.PReLU):
            block.weight.data.zero_()
    network.PPM1.fuse[0].weight.data[:, 32:] = 0
    network.cond_add1.bias.data.fill_(0.5)  # a map that the last ReLU does not flatten
    zeros = network(photo)
    network.padding_mode = "reflect"
    reflect = network(photo)
    assert torch.allclose(zeros[..., 17:-17, 17:-17], reflect[..., 17:-17, 17:-17], atol=1e-9)
    assert (zeros[..., 0, :] - reflect[..., 0, :]).abs().max() > 1e-6


def test_an_unknown_padding_is_refused_with_a_suggestion():
    with pytest.raises(ConfigError, match="Did you mean 'reflect'"):
        EnhancementNetwork("reflekt")


def test_black_under_a_zero_map_stays_black():
    photo = torch.tensor([0.0, 0.5, 0.2]).view(1, 1, 1, 3).expand(1, 3, 1, 3)
    light_map = torch.tensor([0.0, 1.0, 0.5]).view(1, 1, 1, 3)
    assert torch.allclose(enhance(photo, light_map)[0, 0, 0], torch.tensor([0.0, 0.5, 0.4]))


@pytest.mark.parametrize(("way", "expected"), [("none", [0.0, -8.0, 0.0]), ("inward", [-18.0, -8.0, 0.0])])
def test_an_overexposed_value_can_be_pulled_back(way: str, expected: list[float]):
    # three pixels of brightness 0.9, 0.4 and 0.9; the last is asked to become brighter still
    photo = torch.tensor([0.9, 0.4, 0.9]).view(1, 1, 1, 3).expand(1, 3, 1, 3)
    light_map = torch.full((1, 1, 1, 3), 0.5).requires_grad_()
    enhanced = enhance(photo, light_map, way)
    assert enhanced.flatten().tolist() == pytest.approx([1.0, 0.8, 1.0] * 3)
    (enhanced * torch.tensor([5.0, 5.0, -5.0]) / 3).sum().backward()
    assert light_map.grad.flatten().tolist() == pytest.approx(expected)


def test_an_unknown_clamp_gradient_is_refused():
    with pytest.raises(ConfigError, match="none or inward"):
        enhance(torch.rand(1, 3, 2, 2), torch.ones(1, 1, 2, 2), "outward")
