"""Official checkpoints under our names: every published layout complete, the class token exact, strangers refused."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from clipapps.engine import checkpoint
from clipapps.engine.config import load_config
from clipapps.engine.convert import Request
from clipapps.engine.convert import convert as convert_file
from clipapps.errors import UserError, WeightsError
from clipapps.projects.denseclip import convert
from clipapps.registry import MODELS

KEYS = Path(__file__).parents[2] / "golden" / "cases" / "denseclip" / "official_keys"
CONFIGS = {
    "denseclip_fpn_res50_512x512_80k": "denseclip_fpn_rn50_80k_ade20k_512",
    "denseclip_fpn_res101_512x512_80k": "denseclip_fpn_rn101_80k_ade20k_512",
    "denseclip_fpn_vit-b_640x640_80k": "denseclip_fpn_vit_b16_80k_ade20k_640",
    "fpn_clipres50_512x512_80k": "fpn_rn50_80k_ade20k_512",
    "fpn_clipvit-b_640x640_80k": "fpn_vit_b16_80k_ade20k_640",
    "retinanet_denseclip_r50_fpn_1x_coco": "denseclip_retinanet_rn50_1x_coco",
    "retinanet_denseclip_r101_fpn_1x_coco": "denseclip_retinanet_rn101_1x_coco",
    "mask_rcnn_denseclip_r50_fpn_1x_coco": "denseclip_mask_rcnn_rn50_1x_coco",
    "mask_rcnn_denseclip_r101_fpn_1x_coco": "denseclip_mask_rcnn_rn101_1x_coco",
}
TINY = "denseclip/denseclip_fpn_tiny_toyworld"
RANDOM = "model.backbone.weights=None"
ARCH = dict(embed_dim=16, vision_cfg=dict(layers=4, width=32, head_width=16, patch_size=16, image_size=64),
            text_cfg=dict(context_length=24, vocab_size=49408, width=32, heads=2, layers=2), quick_gelu=True)
#: the tiny recipe on a small ViT
VIT = (f"model.backbone.arch={ARCH}", "model.pyramid={'type': 'DenseCLIPViTPyramid'}", "model.score_concat_index=2",
       RANDOM)


def official_state(official: str) -> dict[str, torch.Tensor]:
    shapes = json.loads((KEYS / f"{official}.json").read_text())
    return {name: torch.zeros(shape, device="meta") for name, shape in shapes.items()}


def tiny_model(name: str = TINY, overrides: tuple[str, ...] = (RANDOM,)) -> Any:
    """A model from a fixed seed, its norms and positions stirred, so that every tensor matters."""
    from mmengine.registry import init_default_scope

    init_default_scope("clipapps")
    torch.manual_seed(0)
    model = MODELS.build(load_config(name, overrides).model)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.05 * torch.randn_like(value))
    return model.eval()


def as_released(model: Any) -> dict[str, torch.Tensor]:
    """The state dict as the authors' code would save it: its names, 13 text positions, no temperature."""
    state = {convert.official_name(name): value.clone() for name, value in model.state_dict().items()
             if name != convert.TEMPERATURE}
    if "text_encoder.positional_embedding" in state:
        state["text_encoder.positional_embedding"] = state["text_encoder.positional_embedding"][:13]
    return state


def load(files: list[Path], name: str = TINY, overrides: tuple[str, ...] = (RANDOM,)) -> Any:
    model = MODELS.build(load_config(name, overrides).model)
    checkpoint.load_weights(model, files[0])
    return model.eval()


def logits(model: Any, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.encode_decode(images, [dict(img_shape=tuple(images.shape[2:]))])


@pytest.mark.parametrize("official", CONFIGS)
def test_every_entry_of_the_official_checkpoints_has_its_place(official):
    state = official_state(official)
    converted = convert.convert_checkpoint(Request({"state_dict": state}, Path("w.pth")))
    assert converted.is_shipped and Path(converted.cfg.filename).stem == CONFIGS[official]
    unused = {convert.TEMPERATURE} if "contexts" in state else set()
    assert {convert.official_name(name) for name in converted.weights.keys() - unused} == state.keys()
    assert len(converted.weights) == len(state) + len(unused)


def test_no_list_of_official_keys_is_left_out():
    assert {file.stem for file in KEYS.glob("*.json")} == set(CONFIGS)


@pytest.mark.parametrize("changes", ["missing", "unexpected", "shape"])
def test_a_layout_that_nobody_released_is_refused_with_a_table_in_its_own_names(changes):
    state = official_state("denseclip_fpn_res50_512x512_80k")
    if changes == "missing":
        del state["text_encoder.ln_final.weight"]
        said = r"1 missing, 0 unexpected, 0 of another shape(.|\n)*missing: +text_encoder\.ln_final\.weight"
    elif changes == "unexpected":
        state["backbone.extra"] = torch.zeros(1, device="meta")
        said = r"0 missing, 1 unexpected, 0 of another shape(.|\n)*unexpected: +backbone\.extra"
    else:
        state["backbone.attnpool.positional_embedding"] = torch.zeros(50, 2048, device="meta")
        said = r"1 of another shape(.|\n)*backbone\.attnpool\.positional_embedding \(file \(50, 2048\)"
    with pytest.raises(WeightsError, match=said):
        convert.convert_checkpoint(Request(state, Path("w.pth")))


def test_a_known_prefix_is_hinted_at_and_that_of_distributed_training_dropped():
    state = official_state("denseclip_fpn_vit-b_640x640_80k")
    with pytest.raises(WeightsError, match=r"fit after dropping their prefix 'model\.'"):
        convert.convert_checkpoint(Request({f"model.{name}": value for name, value in state.items()}, Path("w.pth")))
    distributed = {f"module.{name}": value for name, value in state.items()}
    assert convert.convert_checkpoint(Request(distributed, Path("w.pth"))).is_shipped


def test_a_stranger_and_weights_of_our_own_are_refused():
    with pytest.raises(WeightsError, match=r"w\.pth as denseclip/fpn_rn50_80k_ade20k_512 does not fit: \d+ missing"):
        convert.convert_checkpoint(Request({"fc.weight": torch.zeros(2, 2)}, Path("w.pth")))
    with pytest.raises(WeightsError, match="this package's own names already"):
        convert.convert_checkpoint(Request({"backbone.model.visual.conv1.weight": torch.zeros(2, 2)}, Path("w.pth")))


def test_class_names_of_the_checkpoint_replace_those_of_the_recipe():
    state = official_state("fpn_clipres50_512x512_80k")
    names = convert.build_empty(load_config("denseclip/fpn_rn50_80k_ade20k_512")).class_names
    padded = [f"{name} " for name in names]  # one official name ends in a blank
    same = convert.convert_checkpoint(Request({"state_dict": state, "meta": {"CLASSES": padded}}, Path("w.pth")))
    assert same.is_shipped and same.metadata["class_names"] == list(names)
    swapped = [names[1], names[0], *names[2:]]
    other = convert.convert_checkpoint(Request({"state_dict": state, "meta": {"CLASSES": swapped}}, Path("w.pth")))
    assert not other.is_shipped and other.cfg.model.class_names == swapped
    state["decode_head.conv_seg.weight"] = torch.zeros(2, 256, 1, 1, device="meta")
    state["decode_head.conv_seg.bias"] = torch.zeros(2, device="meta")
    fewer = Request({"state_dict": state, "meta": {"CLASSES": ["road", "rest"]}}, Path("w.pth"))
    assert convert.convert_checkpoint(fewer).metadata["class_names"] == ["road", "rest"]


@pytest.mark.parametrize("meta", [None, [], {"CLASSES": "sky"}, {"CLASSES": [1, 2]}, {"dataset_meta": 3}])
def test_strange_meta_has_no_class_names(meta):
    assert convert.class_names_in({"meta": meta}) == ()


def test_a_converted_resnet_gives_the_same_logits_and_says_what_it_is(tmp_path):
    model = tiny_model()
    torch.save({"state_dict": as_released(model), "meta": {"CLASSES": model.class_names}}, tmp_path / "r.pth")
    files, notes = convert_file(tmp_path / "r.pth", project="denseclip", config=TINY)
    assert files == [tmp_path / "r.safetensors"]  # a config of the package: its name is enough
    images = torch.randn(1, 3, 96, 64)
    assert torch.equal(logits(load(files), images), logits(model, images))
    metadata = checkpoint.read_metadata(files[0])
    assert (metadata["project"], metadata["config"]) == ("denseclip", "denseclip_fpn_tiny_toyworld")
    assert json.loads(metadata["class_names"]) == list(model.class_names)
    assert metadata["source_sha256"] == hashlib.sha256((tmp_path / "r.pth").read_bytes()).hexdigest()
    assert any("more than 3 tokens" in note for note in notes)


def test_a_converted_vit_computes_what_the_released_one_does(tmp_path):
    """The released code adds the class embedding to its token twice: here by an insertion, there by the conversion."""
    from clipapps.clip import Insertion

    model = tiny_model(overrides=VIT)
    state = as_released(model)
    torch.save(state, tmp_path / "r.pth")
    files, _ = convert_file(tmp_path / "r.pth", tmp_path / "out" / "w.safetensors", project="denseclip", config=TINY,
                            overrides=VIT)
    assert files == [tmp_path / "out" / "w.safetensors", tmp_path / "out" / "config.py"]

    class Twice(Insertion):
        def embed(self, tokens: torch.Tensor) -> torch.Tensor:
            first = tokens[:, :1] + model.backbone.model.visual.class_embedding
            return torch.cat([first, tokens[:, 1:]], dim=1)

    images = torch.randn(2, 3, 64, 96)
    stock = logits(model, images)
    forward = model.backbone.forward
    model.backbone.forward = lambda x: forward(x, insertions=[Twice()])
    released = logits(model, images)
    converted = logits(load([files[0]], str(files[1]), ()), images)
    assert (released - stock).abs().max() > 1e-3
    assert (converted - released).abs().max() < 1e-5 * released.abs().max()


def test_the_missing_text_positions_are_clips_where_its_weights_are_named(tmp_path):
    model = tiny_model()
    whole = model.backbone.model.positional_embedding
    torch.save(as_released(model), tmp_path / "r.pth")
    key = convert.TEXT_POSITIONS
    plain = checkpoint.load(convert_file(tmp_path / "r.pth", project="denseclip", config=TINY)[0][0])
    assert torch.equal(plain[key][:13], whole[:13]) and plain[key][13:].eq(whole[12]).all()
    assert plain[convert.TEMPERATURE].item() == pytest.approx(4.6052, abs=1e-4)
    files, notes = convert_file(tmp_path / "r.pth", project="denseclip", config=TINY, force=True,
                                overrides=["model.backbone.weights=builtin"])
    clip = tiny_model(overrides=("model.backbone.weights=builtin",)).backbone
    clip.init_weights()
    filled = checkpoint.load(files[0])
    assert torch.equal(filled[key][:13], whole[:13])
    assert torch.equal(filled[key][13:], clip.model.positional_embedding[13:])
    assert files == [tmp_path / "r.safetensors"] and not any("tokens need" in note for note in notes)


def test_nothing_is_overwritten_and_nothing_half_written_stays(tmp_path):
    torch.save(as_released(tiny_model()), tmp_path / "r.pth")
    (tmp_path / "r.safetensors").write_bytes(b"mine")
    with pytest.raises(UserError, match="exists; name another target, or replace it with --force"):
        convert_file(tmp_path / "r.pth", project="denseclip", config=TINY)
    with pytest.raises(UserError, match=r"must end in \.safetensors"):
        convert_file(tmp_path / "r.pth", tmp_path / "w.pth", project="denseclip", config=TINY)
    with pytest.raises(UserError, match="own conversion"):
        convert_file(tmp_path / "r.safetensors", force=True)
    with pytest.raises(WeightsError, match="does not fit"):
        convert_file(tmp_path / "r.pth", tmp_path / "new.safetensors", project="denseclip", overrides=[RANDOM])
    assert sorted(os.listdir(tmp_path)) == ["r.pth", "r.safetensors"]
    assert (tmp_path / "r.safetensors").read_bytes() == b"mine"
    convert_file(tmp_path / "r.pth", project="denseclip", config=TINY, force=True)
    assert (tmp_path / "r.safetensors").stat().st_size > 1000


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
