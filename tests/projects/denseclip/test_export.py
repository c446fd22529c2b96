"""Segmentors with fixed classes: the same numbers without a text tower, and as graphs at sizes nobody traced."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch

from clipapps.clip import CLIPBackbone
from clipapps.engine import checkpoint, export
from clipapps.errors import UserError
from clipapps.projects.denseclip.export import DoubledSize, FixedClasses, make_exportable
from clipapps.projects.denseclip.maskclip import MaskCLIPSegmentor
from clipapps.projects.denseclip.mmseg_parts import Upsample
from clipapps.projects.denseclip.models import CLIPSegmentor

TINY, BASELINE = "denseclip/denseclip_fpn_tiny_toyworld", "denseclip/fpn_tiny_toyworld"
TEXT_PARTS = ("token_embedding", "text_projection", "ln_final", "backbone.model.positional_embedding")


def logits(model, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.encode_decode(images, [dict(img_shape=images.shape[2:])])


def stirred(model):
    """Positions, gamma and norms away from their initial values, so that leaving one out shows."""
    torch.manual_seed(1)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.05 * torch.randn_like(value))
    return model.eval()


def check_fixed(model) -> FixedClasses:
    images = torch.randn(2, 3, 96, 70, generator=torch.Generator().manual_seed(2))
    expected, names = logits(model, images), set(model.state_dict())
    fixed = FixedClasses(copy.deepcopy(model))
    with torch.no_grad():
        assert (fixed(images) - expected).abs().max() <= 1e-6 * expected.abs().max()
    kept = {name.removeprefix("segmentor.") for name in fixed.state_dict()}
    assert not [name for name in kept if any(part in name for part in TEXT_PARTS)]
    heads = {name for name in names if name.startswith(("decode_head.", "neck.", "pyramid.", "context_decoder."))}
    assert heads <= kept
    return fixed


@pytest.mark.parametrize("vit", [False, True], ids=["resnet", "vit"])
@pytest.mark.parametrize("mode", ["post", "language", "template"])
def test_fixed_classes_compute_what_the_segmentor_does_without_its_text_tower(build, vit, mode):
    fixed = check_fixed(stirred(build(vit, prompt_mode=mode)))
    assert not [module for module in fixed.modules() if isinstance(module, Upsample)]


def test_other_names_are_fixed_as_score_maps(build):
    model = stirred(build())
    model.use_vocabulary(("sea", "sky", "a very small boat", "sand"))
    assert check_fixed(model)(torch.randn(1, 3, 64, 64)).shape == (1, 4, 64, 64)
    model.use_vocabulary(("sea", "sky"), "scores+decoder")
    check_fixed(model)


def test_a_baseline_and_a_training_free_segmentor_are_fixed_too(segmentor_config):
    from clipapps.registry import MODELS

    keys = ("backbone", "decode_head", "neck", "test_cfg")
    config = {key: value for key, value in segmentor_config().items() if key in keys}
    check_fixed(stirred(MODELS.build({**config, "type": CLIPSegmentor, "class_names": ("sky", "tree")})))
    clip = stirred(CLIPBackbone("tiny-rn", dense="value", size_policy="floor"))
    check_fixed(MaskCLIPSegmentor(clip, ["background", "star"], wordings={"background": ["sea", "snow"]}).eval())


def test_prompts_that_are_computed_from_the_image_cannot_be_fixed(build):
    with pytest.raises(UserError, match="computes its prompts from each image"):
        FixedClasses(build(prompt_mode="pre").eval())


def test_doubling_equals_the_heads_own_upsampling():
    x = torch.randn(2, 3, 5, 7)
    own = Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    assert torch.equal(DoubledSize()(x), own(x))


@pytest.fixture
def weights(tmp_path) -> Path:
    """Random weights of the tiny config that say which config they belong to."""
    from mmengine.registry import init_default_scope

    from clipapps.engine.config import load_config
    from clipapps.registry import MODELS

    init_default_scope("clipapps")
    model = MODELS.build(load_config(TINY, ["model.backbone.weights=None"]).model)
    checkpoint.save_weights(stirred(model).state_dict(), tmp_path / "w.safetensors", {"config": Path(TINY).name})
    return tmp_path / "w.safetensors"


def test_the_files_facts_are_those_of_the_model(weights):
    exportable = make_exportable(export.Request(weights))
    facts = exportable.metadata
    assert exportable.size == (128, 128) and exportable.smallest == 64 and exportable.multiple == 1
    assert facts["config"] == Path(TINY).name and facts["class_names"][:3] == ["background", "house", "tree"]
    assert facts["mean"] == pytest.approx([0.4814, 0.4578, 0.4082], abs=1e-4) and len(facts["std"]) == 3
    assert facts["short_side"] == 128 and facts["inference"] == {"mode": "whole"}
    json.dumps(facts)
    other = make_exportable(export.Request(weights, classes=["star", "red heart"]))
    assert other.metadata["class_names"] == ["star", "red heart"]
    assert other.model(torch.randn(1, 3, 64, 96)).shape == (1, 2, 64, 96)


def test_what_cannot_be_exported_is_said(weights, tmp_path):
    with pytest.raises(UserError, match="needs --weights"):
        make_exportable(export.Request(None))
    with pytest.raises(UserError, match="give its --weights"):
        make_exportable(export.Request(None, TINY))
    with pytest.raises(UserError, match="none of them empty or repeated"):
        make_exportable(export.Request(weights, classes=["a", "a"]))
    with pytest.raises(UserError, match="does not fit"):
        make_exportable(export.Request(weights, BASELINE))


@pytest.mark.parametrize("vit", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["resnet", "vit"])
def test_a_graph_runs_at_sizes_it_was_not_traced_at(build, vit):
    """Height and width change: the stored grid's own size, odd sizes, and sizes below the traced one."""
    model = FixedClasses(stirred(build(vit)))
    with torch.no_grad(), export._for_tracing():
        module = export.trace(model, (96, 96), any_batch=False).module()
        for height, width in ((96, 96), (64, 64), (101, 150), (70, 200)):
            images = torch.randn(1, 3, height, width)
            expected = model(images)
            assert (module(images) - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("vit", [False, True], ids=["resnet", "vit"])
@pytest.mark.parametrize("kind", ["onnx", "torch_export"])
def test_written_files_agree_with_the_model(build, tmp_path, vit, kind):
    model = FixedClasses(stirred(build(vit)))
    write = export._write_onnx if kind == "onnx" else export._write_program
    with torch.no_grad(), export._for_tracing():
        program = export.trace(model, (96, 128), any_batch=kind == "onnx")
        run = write(program, tmp_path / f"m{export.SUFFIXES[kind]}", {"a": "b"})
        for size in ((96, 128), (64, 64), (101, 150), (224, 160)):
            found = export.compare(model, run, size)
            assert found.difference <= 1e-5 * found.largest, found
