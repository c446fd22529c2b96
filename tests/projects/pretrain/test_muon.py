"""The joint optimizer: which part moves what, schedules, and resuming."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from clipapps.clip import CLIPBackbone
from clipapps.projects.pretrain.muon import MuonAdamW, MuonConstructor

ARCH = {"embed_dim": 32, "vision_cfg": {"layers": 1, "width": 32, "head_width": 16, "image_size": 32, "patch_size": 16},
        "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}}


@pytest.fixture
def wrapped():
    torch.manual_seed(0)
    backbone = CLIPBackbone(ARCH, trainable="image")
    constructor = MuonConstructor(dict(optimizer=dict(type=MuonAdamW, lr=0.01, weight_decay=0.0)),
                                  dict(norm_decay_mult=0.0))
    return backbone, constructor(backbone).optimizer


def grouped(backbone, optimizer) -> dict[str, bool]:
    of_muon = {id(p) for group in optimizer.parts[0].param_groups for p in group["params"]}
    return {name: id(p) in of_muon for name, p in backbone.named_parameters() if p.requires_grad}


def test_matrices_of_image_blocks_go_to_muon_and_all_else_to_adamw(wrapped) -> None:
    of_muon = [name for name, muon in grouped(*wrapped).items() if muon]
    assert sorted(name.removeprefix("model.visual.transformer.resblocks.0.") for name in of_muon) == [
        "attn.in_proj_weight", "attn.out_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight"]


def test_a_matrix_moves_by_an_orthogonal_update() -> None:
    weight = nn.Parameter(torch.zeros(6, 6))
    optimizer = MuonAdamW([dict(params=[weight], muon=True)], lr=1.0, weight_decay=0.0)
    weight.grad = torch.diag(torch.tensor([100.0, 10.0, 1.0, 5.0, 2.0, 1.0]))
    optimizer.step()
    singular = torch.linalg.svdvals(weight.detach())
    assert singular.max() / singular.min() < 2  # the gradient's are 100 apart


def test_a_schedule_reaches_both_parts(wrapped) -> None:
    backbone, optimizer = wrapped
    before = copy.deepcopy(backbone.state_dict())
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    backbone(torch.ones(1, 3, 32, 32)).pooled.sum().backward()
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


def test_a_restored_optimizer_takes_the_same_step(wrapped) -> None:
    backbone, optimizer = wrapped
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    def step(backbone, optimizer) -> None:
        optimizer.zero_grad()
        backbone(images).pooled.square().sum().backward()
        optimizer.step()

    step(backbone, optimizer)
    other = CLIPBackbone(ARCH, trainable="image")
    other.load_state_dict(backbone.state_dict())
    restored = MuonConstructor(dict(optimizer=dict(type=MuonAdamW, lr=0.5, weight_decay=0.0)),
                               dict(norm_decay_mult=0.0))(other).optimizer
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    step(backbone, optimizer)
    step(other, restored)
    assert restored.param_groups[0]["lr"] == 0.01
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
