"""Official checkpoints under our names: complete for every published segmentor, exact in the class token."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from clipapps.engine.config import load_config
from clipapps.errors import WeightsError
from clipapps.projects.denseclip import convert
from clipapps.registry import MODELS

KEYS = Path(__file__).parents[2] / "golden" / "cases" / "denseclip" / "official_keys"
CONFIGS = {
    "denseclip_fpn_res50_512x512_80k": "denseclip_fpn_rn50_80k_ade20k_512",
    "denseclip_fpn_res101_512x512_80k": "denseclip_fpn_rn101_80k_ade20k_512",
    "denseclip_fpn_vit-b_640x640_80k": "denseclip_fpn_vit_b16_80k_ade20k_640",
    "fpn_clipres50_512x512_80k": "fpn_rn50_80k_ade20k_512",
    "fpn_clipvit-b_640x640_80k": "fpn_vit_b16_80k_ade20k_640",
}


def build_on_meta(config: str):
    """The model without memory for its weights: shapes are all that counts."""
    from mmengine.registry import init_default_scope

    init_default_scope("clipapps")
    cfg = load_config(f"denseclip/{config}", ["model.backbone.weights=None", "model.backbone.drop_path_rate=0."])
    with torch.device("meta"):
        return MODELS.build(cfg.model)


@pytest.mark.parametrize("official", CONFIGS)
def test_every_entry_of_the_official_checkpoints_has_its_place(official):
    shapes = json.loads((KEYS / f"{official}.json").read_text())
    state = {name: torch.zeros(shape, device="meta") for name, shape in shapes.items()}
    model = build_on_meta(CONFIGS[official])
    converted = convert.convert_segmentor(state)
    assert len(converted) == len(state)
    convert.check_complete(convert.fill_unused(converted, model), model)


def test_what_is_missing_or_left_over_is_listed(build):
    model = build()
    state = dict(model.state_dict())
    state["surplus"] = state.pop("gamma")
    state["contexts"] = state["contexts"][:, :2]
    with pytest.raises(WeightsError, match=r"(?s)W does not fit.*missing: gamma.*unexpected: surplus.*shape: contexts"):
        convert.check_complete(state, model, "W")


def test_unused_entries_come_from_the_model(build):
    model = build()
    own = model.state_dict()
    state = {name: value + 1 for name, value in own.items() if name != convert.TEMPERATURE}
    state[convert.TEXT_POSITIONS] = state[convert.TEXT_POSITIONS][:13]
    filled = convert.fill_unused(state, model)
    assert torch.equal(filled[convert.TEMPERATURE], own[convert.TEMPERATURE])
    positions, wanted = filled[convert.TEXT_POSITIONS], own[convert.TEXT_POSITIONS]
    assert torch.equal(positions[:13], wanted[:13] + 1) and torch.equal(positions[13:], wanted[13:])
    convert.check_complete(filled, model)


def test_folding_changes_the_class_tokens_position_alone():
    state = {"class_embedding": torch.ones(4), "positional_embedding": torch.zeros(5, 4), "fpn3.weight": torch.ones(4)}
    folded = convert.convert_image_tower(state)["model.visual.positional_embedding"]
    assert folded[0].eq(1).all() and folded[1:].eq(0).all()
    assert state["positional_embedding"].eq(0).all()  # the input stays as it was
    kept = convert.convert_image_tower(state, fold_class_embedding=False)
    assert kept["model.visual.positional_embedding"].eq(0).all() and "model.visual.fpn3.weight" not in kept
    assert convert.convert_pyramid(state) == {"fpn3.weight": state["fpn3.weight"]}
