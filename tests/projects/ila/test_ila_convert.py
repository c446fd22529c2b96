"""Released checkpoints: names there and back, recognition, completeness, and the verb."""

from __future__ import annotations

import json

import pytest
import torch

from clipapps.engine.config import load_config
from clipapps.engine.convert import Request, convert
from clipapps.errors import WeightsError
from clipapps.projects.ila.convert import build_empty, convert_checkpoint, official_name, our_name, recognize
from clipapps.safe_load import load_safetensors


def released(name: str) -> dict[str, torch.Tensor]:
    """A state dict in the released layout of a config's model, without memory for its values."""
    return {official_name(key): value for key, value in build_empty(load_config(f"ila/{name}")).state_dict().items()}


@pytest.mark.parametrize("name", ["ila_vit_b32_16f_k400", "ila_vit_b16_32f_ssv2", "ila_vit_l14_16f_ssv2_336"])
def test_names_go_there_and_back_and_shapes_tell_the_recipe(name, tmp_path):
    state = released(name)
    assert all(official_name(our_name(key)) == key for key in state)
    assert recognize(state) == name
    wrapped = {"model": {f"module.{key}": value for key, value in state.items()}, "epoch": 49}
    converted = convert_checkpoint(Request(wrapped, tmp_path / "best.pth"))
    assert converted.is_shipped and set(converted.weights) == set(build_empty(converted.cfg).state_dict())


def test_official_names_are_the_authors(small_model):
    names = {official_name(name) for name in small_model().state_dict()}
    assert {"visual.transformer.resblocks.1.message_attn.interactive_block.0.depthwise_conv.0.weight",
            "visual.transformer.resblocks.0.temporal_skip_align_fc.bias", "mit.resblocks.0.mlp.c_fc.weight",
            "prompts_generator.decoder.0.cross_attn.q_proj.weight", "prompts_visual_proj", "logit_scale",
            "visual.class_embedding", "transformer.resblocks.0.attn.in_proj_weight"} <= names
    head = {official_name(name) for name in small_model(head=dict(num_classes=3)).state_dict()}
    assert {"mit.classify_head.0.weight", "mit.classify_head.2.bias"} <= head


def test_missing_and_unknown_entries_are_shown(tmp_path):
    state = released("ila_vit_b32_8f_k400")
    state["surprise"] = state.pop("mit.resblocks.0.ln_1.bias")
    with pytest.raises(WeightsError, match=r"1 missing, 1 unexpected(.|\n)*mit.resblocks.0.ln_1.bias(.|\n)*surprise"):
        convert_checkpoint(Request(state, tmp_path / "odd.pth"))


def test_other_files_are_refused(tmp_path):
    with pytest.raises(WeightsError, match="no checkpoint of ILA"):
        convert_checkpoint(Request({"weight": torch.zeros(2)}, tmp_path / "x.pth"))
    with pytest.raises(WeightsError, match="own names already"):
        convert_checkpoint(Request({"backbone.model.visual.proj": torch.zeros(2)}, tmp_path / "x.pth"))


def test_the_verb_converts_a_small_recipe(tmp_path, small_model):
    """A released file of a model as small as a test's, through a config of its own."""
    model = small_model(head=dict(num_classes=174), backbone=dict(with_text=False))
    torch.save({"model": {official_name(name): value for name, value in model.state_dict().items()}, "epoch": 3,
                "max_accuracy": 0.5}, tmp_path / "small.pth")
    (tmp_path / "arch.json").write_text(json.dumps(model.backbone.arch_config))
    written, notes = convert(
        tmp_path / "small.pth", project="ila", config="ila/ila_vit_b16_8f_ssv2", overrides=[
            "model.num_frames=3", "model.alignment.channels=16", "model.alignment.variant=k400",
            f"model.backbone.arch={tmp_path / 'arch.json'}"])
    assert [file.name for file in written] == ["small.safetensors", "config.py"] and "tensors" in notes[0]
    tensors = load_safetensors(written[0])[0]
    torch.testing.assert_close(tensors["head.fc.weight"], model.head.fc.weight.detach())

