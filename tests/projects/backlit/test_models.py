"""The model: weights of the losses, refusals, and photos at test time."""

from __future__ import annotations

import pytest
import torch

from clipapps.clip import CLIPBackbone
from clipapps.errors import ConfigError
from clipapps.projects.backlit.guidance import LatentPair, ResidualDirection
from clipapps.projects.backlit.models import BacklitEnhancer, to_bytes
from clipapps.projects.backlit.network import EnhancementNetwork
from clipapps.projects.backlit.residual import residual_vector

TINY = dict(type=CLIPBackbone, arch="tiny-rn", with_text=False)


def build(guidance: type = LatentPair, **changes) -> BacklitEnhancer:
    torch.manual_seed(0)
    return BacklitEnhancer(guidance=dict(type=guidance), clip=TINY, network=EnhancementNetwork(start_bias=0.8),
                           **changes)


def test_the_loss_is_the_weighted_sum_of_its_parts():
    model = build(guidance_boost=6.0, identity_balance=0.9)
    found = model(torch.rand(2, 3, 32, 32), mode="loss", phase="enhance")
    torch.testing.assert_close(found["loss"].detach(), 6 * found["guidance"] + 0.9 * found["identity"])
    torch.testing.assert_close(found["objective"], found["guidance"] + 0.9 * found["identity"])


def test_losses_and_gradients_do_not_depend_on_the_layout_that_a_cpu_trains_in(monkeypatch):
    model, images, found = build(), torch.rand(2, 3, 32, 32), []
    for capability, is_plain in (("AVX2", True), ("AVX512", False)):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda capability=capability: capability)
        seen: list[bool] = []
        handle = model.network.register_forward_pre_hook(
            lambda _, args, seen=seen: seen.append(args[0].is_contiguous()))
        model.zero_grad()
        loss = model(images, mode="loss", phase="enhance")["loss"]
        loss.backward()
        handle.remove()
        assert seen == [is_plain]
        found.append((loss.detach(), model.network.condx.weight.grad.clone()))
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-3)


def test_photos_that_stay_as_they_are_cost_nothing_in_reconstruction():
    model = build()
    model.network.cond_add1.weight.data.zero_()
    model.network.cond_add1.bias.data.fill_(1.0)
    found = model(torch.rand(2, 3, 32, 32), mode="loss", phase="reconstruct")
    assert found["loss"].item() < 1e-6 and found["psnr"].item() > 80


def test_a_better_ranked_batch_costs_less():
    model = build()
    groups = torch.rand(2, 3, 3, 32, 32)
    pair = model.guidance.embedding
    with torch.no_grad():
        embeds = model.towers.embed(groups.flatten(0, 1)).unflatten(0, (2, 3))
        pair[0], pair[1] = embeds[:, 0].mean(dim=0), embeds[:, 2].mean(dim=0)
    right, wrong = (model(batch, mode="loss", phase="refine")["loss"] for batch in (groups, groups.flip(1)))
    assert right < wrong


def test_phases_that_a_guidance_lacks_are_refused():
    model = build(ResidualDirection)
    with pytest.raises(ConfigError, match="is not learned"):
        model(torch.rand(1, 2, 3, 32, 32), mode="loss", phase="refine")
    with pytest.raises(ConfigError, match="has not been computed"):
        model(torch.rand(1, 3, 32, 32), mode="loss", phase="enhance")
    model.guidance.set(residual_vector(torch.randn(3, 128), torch.randn(3, 128)))
    assert model(torch.rand(1, 3, 32, 32), mode="loss", phase="enhance")["loss"] > 0


def test_more_groups_than_margins_are_refused():
    with pytest.raises(ConfigError, match="margins for 2 to 4 groups, not for 5"):
        build()(torch.rand(1, 5, 3, 32, 32), mode="loss", phase="refine")


def test_bytes_round_half_up():
    assert to_bytes(torch.tensor([0.0, 0.5 / 255, 0.499 / 255, 1.0])).tolist() == [0, 1, 0, 255]


def test_training_and_test_padding_may_differ():
    model = build(train_padding="zeros", test_padding="reflect")
    images = torch.rand(1, 3, 32, 32)
    model(images, mode="loss", phase="reconstruct")
    assert model.network.padding_mode == "zeros"
    model(images)
    assert model.network.padding_mode == "reflect"
