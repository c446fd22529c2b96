"""Published checkpoints: prefix or not, complete or refused, and what comes out of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clipapps.engine.convert import convert
from clipapps.errors import WeightsError
from clipapps.projects.backlit.convert import convert_guidance
from clipapps.projects.backlit.models import load_network
from clipapps.projects.backlit.network import EnhancementNetwork


@pytest.mark.parametrize("prefix", ["module.", ""])
def test_a_published_layout_becomes_our_weights(tmp_path: Path, prefix: str):
    network = EnhancementNetwork()
    torch.save({prefix + name: value for name, value in network.state_dict().items()}, tmp_path / "official.pth")
    (file,), notes = convert(tmp_path / "official.pth", project="backlit")
    assert file.name == "official.safetensors" and "30 tensors" in notes[0]
    loaded = EnhancementNetwork()
    load_network(loaded, file)
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in loaded.state_dict().items())


def test_an_incomplete_network_is_refused_with_a_table(tmp_path: Path):
    state = {f"module.{name}": value for name, value in EnhancementNetwork().state_dict().items()}
    del state["module.condx.bias"]
    torch.save(state, tmp_path / "official.pth")
    with pytest.raises(WeightsError, match=r"1 missing[\s\S]*condx\.bias"):
        convert(tmp_path / "official.pth", project="backlit")


def test_a_guidance_checkpoint_is_told_apart(tmp_path: Path):
    state = {"module.embedding_prompt": torch.zeros(2, 77, 8), "module.text_encoder.ln_final.bias": torch.zeros(8)}
    torch.save(state, tmp_path / "prompt.pth")
    with pytest.raises(WeightsError, match="guidance"):
        convert(tmp_path / "prompt.pth", project="backlit")
    assert list(convert_guidance(state)) == ["embedding"]
    with pytest.raises(WeightsError, match="no guidance"):
        convert_guidance({"a": torch.zeros(1)})


def test_trained_weights_load_without_their_guidance(tmp_path: Path):
    from clipapps.engine.checkpoint import save_weights

    network = EnhancementNetwork(start_bias=0.5)
    save_weights({**{f"network.{name}": value for name, value in network.state_dict().items()},
                  "guidance.embedding": torch.zeros(2, 4)}, tmp_path / "best.safetensors")
    loaded = EnhancementNetwork()
    load_network(loaded, tmp_path / "best.safetensors")
    assert torch.equal(loaded.cond_add1.bias, network.cond_add1.bias)
