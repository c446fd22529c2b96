"""Weights from files: open_clip and OpenAI layouts, built-in rows, and what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from clipapps.clip import CLIPBackbone
from clipapps.errors import WeightsError

Build = Callable[..., CLIPBackbone]


def _equal(one: CLIPBackbone, other: CLIPBackbone) -> bool:
    state = other.model.state_dict()
    return all(torch.equal(value, state[name]) for name, value in one.model.state_dict().items())


@pytest.fixture()
def source(build: Build) -> CLIPBackbone:
    """A model whose weights stand in for published ones."""
    backbone = build("vit_token")
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(0.01)
    return backbone


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_open_clip_files_load_with_and_without_a_wrapper(
        source: CLIPBackbone, families: dict, tmp_path: Path, suffix: str, prefix: str) -> None:
    path = tmp_path / f"clip{suffix}"
    state = {prefix + name: value.clone() for name, value in source.model.state_dict().items()}
    save_file(state, path) if suffix == ".safetensors" else torch.save({"state_dict": state}, path)
    assert _equal(source, CLIPBackbone.from_pretrained(families["vit_token"], str(path)))


def test_an_openai_torchscript_archive_loads_without_running_it(
        source: CLIPBackbone, families: dict, tmp_path: Path) -> None:
    class Published(nn.Module):
        """OpenAI's files are scripted modules with half-precision weights and three extra entries."""

        def __init__(self) -> None:
            super().__init__()
            self.visual = source.model.visual.half()
            self.register_buffer("input_resolution", torch.tensor(32))

        def forward(self, x: Tensor) -> Tensor:
            return x

    path = tmp_path / "ViT-tiny.pt"
    torch.jit.script(Published()).save(str(path))
    loaded = CLIPBackbone.from_pretrained(families["vit_token"], str(path), with_text=False)
    expected = source.model.visual.float().state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.model.visual.state_dict().items())


def test_clip_text_names_fit_a_custom_text_model(source: CLIPBackbone, families: dict, tmp_path: Path) -> None:
    path = tmp_path / "clip.safetensors"
    save_file(dict(source.model.state_dict()), path)
    custom = CLIPBackbone.from_pretrained({**families["vit_token"], "custom_text": True}, str(path))
    assert torch.equal(custom.encode_text(["a red star"]), source.encode_text(["a red star"]))


def test_built_in_files_hold_only_the_token_rows_that_were_trained(
        source: CLIPBackbone, families: dict, tmp_path: Path) -> None:
    state = dict(source.model.state_dict())
    ids = torch.tensor([320, 49406, 49407])
    rows = state.pop("token_embedding.weight")[ids]
    path = tmp_path / "rows.safetensors"
    save_file({**state, "token_embedding.rows": rows, "token_embedding.ids": ids.int()}, path)
    table = CLIPBackbone.from_pretrained(families["vit_token"], str(path)).model.token_embedding.weight
    assert torch.equal(table[ids], rows)
    torch.testing.assert_close(table[7], rows.mean(dim=0))


def test_image_tower_alone_takes_a_full_file(source: CLIPBackbone, families: dict, tmp_path: Path) -> None:
    path = tmp_path / "clip.safetensors"
    save_file(dict(source.model.state_dict()), path)
    loaded = CLIPBackbone.from_pretrained(families["vit_token"], str(path), with_text=False, with_pool=False)
    assert torch.equal(loaded.model.visual.conv1.weight, source.model.visual.conv1.weight)


def test_weights_of_another_model_are_refused_with_a_table_and_change_nothing(
        source: CLIPBackbone, families: dict, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    state = {name: value for name, value in source.model.state_dict().items() if "resblocks.1" not in name}
    state["visual.proj"] = torch.zeros(32, 7)
    save_file(state, path)
    backbone = CLIPBackbone(families["vit_token"], str(path))
    before = backbone.model.visual.conv1.weight.clone()
    with pytest.raises(WeightsError, match=r"(?s)other.safetensors does not fit.*missing \(24\).*visual.proj is "
                                           r"\(32, 7\), the model has \(32, 24\)"):
        backbone.init_weights()
    assert torch.equal(backbone.model.visual.conv1.weight, before)


def test_first_use_loads_what_construction_named(source: CLIPBackbone, families: dict, tmp_path: Path) -> None:
    path = tmp_path / "clip.safetensors"
    save_file(dict(source.model.state_dict()), path)
    backbone = CLIPBackbone(families["vit_token"], str(path)).eval()
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(backbone(images).pooled, source(images).pooled)


def test_a_checkpoint_makes_loading_the_named_weights_needless(source: CLIPBackbone, families: dict) -> None:
    backbone = CLIPBackbone(families["vit_token"], "openai").eval()
    backbone.load_state_dict(source.state_dict())
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(backbone(images).pooled, source(images).pooled)
