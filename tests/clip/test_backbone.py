"""CLIPBackbone: equal to plain open_clip where nothing is inserted, and what it adds."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.layers import PatchDropout

from clipapps.clip import CLIPBackbone, Insertion, open_clip_models, resize_positions
from clipapps.clip.blocks import value_path
from clipapps.clip.weights import load_into
from clipapps.errors import UserError, WeightsError
from clipapps.registry import MODELS

Build = Callable[..., CLIPBackbone]


@pytest.mark.parametrize("grad", [True, False])
def test_pooled_and_text_equal_open_clip_bit_for_bit(any_backbone: CLIPBackbone, grad: bool) -> None:
    images = torch.randn(2, 3, *any_backbone.native_size)
    ids = any_backbone.tokenize(["a red star", "two boats on a sea"])
    with torch.set_grad_enabled(grad):
        assert torch.equal(any_backbone(images).pooled, any_backbone.model.encode_image(images))
        assert torch.equal(any_backbone.encode_text(ids), any_backbone.model.encode_text(ids))


def test_facts_known_before_running_hold(any_backbone: CLIPBackbone) -> None:
    height, width = any_backbone.native_size[0] + any_backbone.stride, 2 * any_backbone.native_size[1]
    features = any_backbone(torch.randn(1, 3, height, width))
    expected = [(1, c, height // s, width // s)
                for c, s in zip(any_backbone.out_channels, any_backbone.out_strides, strict=True)]
    assert [tuple(level.shape) for level in features.levels] == expected
    assert features.pooled.shape == (1, any_backbone.embed_dim)
    assert features.dense.shape == (1, any_backbone.embed_dim, height // any_backbone.stride,
                                    width // any_backbone.stride)


@pytest.mark.parametrize("dense", ["projected", "value"])
def test_dense_is_a_gradient_path_to_the_image(any_backbone: CLIPBackbone, dense: str) -> None:
    images = torch.randn(1, 3, *any_backbone.native_size, requires_grad=True)
    any_backbone(images, dense=dense).dense.square().sum().backward()
    assert images.grad is not None and images.grad.abs().sum() > 0


def test_dense_projected_holds_the_class_token_pipeline(vit: CLIPBackbone) -> None:
    features = vit(torch.randn(2, 3, 32, 32))
    projected = features.tokens @ vit.model.visual.proj
    torch.testing.assert_close(projected[:, 0], features.pooled)
    torch.testing.assert_close(projected[:, 1:].transpose(1, 2).unflatten(2, (4, 4)), features.dense)


def test_dense_can_be_left_out(any_backbone: CLIPBackbone) -> None:
    features = any_backbone(torch.randn(1, 3, *any_backbone.native_size), dense=None)
    assert features.dense is None and features.pooled is not None


def test_value_mode_keeps_each_patch_to_itself(vit: CLIPBackbone) -> None:
    """Only the value path of the last block: a token there depends on no other token of that block's input."""
    tokens = torch.randn(1, 5, 32)
    changed = tokens.clone()
    changed[0, 3] += 1
    block = vit.model.visual.transformer.resblocks[-1]
    difference = (value_path(block, tokens) - value_path(block, changed)).abs().sum(dim=-1)[0]
    assert difference[3] > 0 and difference[[0, 1, 2, 4]].max() == 0


def test_resnet_levels_equal_open_clips(resnet: CLIPBackbone) -> None:
    images = torch.randn(1, 3, 96, 64)
    theirs = resnet.model.visual.forward_intermediates(images, indices=[1, 2, 3, 4], intermediates_only=True)
    for ours, reference in zip(resnet(images).levels, theirs["image_intermediates"], strict=True):
        assert torch.equal(ours, reference)


def test_vit_levels_equal_open_clips(build: Build) -> None:
    backbone = build("vit_token", out_indices=(0, -1))
    images = torch.randn(1, 3, 32, 32)
    theirs = backbone.model.visual.forward_intermediates(images, indices=[0, 2], intermediates_only=True)
    for ours, reference in zip(backbone(images).levels, theirs["image_intermediates"], strict=True):
        assert torch.equal(ours, reference)
    assert backbone.out_indices == (0, 2)


@pytest.mark.parametrize(("size", "message"), [
    ((30, 32), "30 x 32.*multiples of 8.*32 x 32"),
    ((32, 37), "Nearest legal size: 32 x 40"),
    ((4, 64), "Nearest legal size: 8 x 64"),
])
def test_illegal_size_names_the_nearest_legal_one(vit: CLIPBackbone, size: tuple[int, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        vit(torch.zeros(1, 3, *size))


def test_size_policy_floor_lets_strides_round_down(build: Build) -> None:
    backbone = build("resnet", size_policy="floor")
    features = backbone(torch.randn(1, 3, 70, 101))
    assert [tuple(level.shape[-2:]) for level in features.levels] == [(17, 25), (8, 12), (4, 6), (2, 3)]
    assert features.dense.shape[-2:] == (2, 3)


def test_input_resolution_keeps_a_resized_grid(build: Build) -> None:
    small = build("vit_token")
    large = build("vit_token", input_resolution=64)
    assert large.native_size == (64, 64)
    assert large.model.visual.positional_embedding.shape == (65, 32)
    wanted = resize_positions(small.model.visual.positional_embedding, (8, 8))
    load_into(large.model, small.model.state_dict(), source="test", position_key="positional_embedding",
              num_prefix=1, interpolation="bilinear")
    assert torch.equal(large.model.visual.positional_embedding, wanted)


def test_without_text_and_pool_nothing_of_them_remains(build: Build) -> None:
    backbone = build("resnet", with_text=False, with_pool=False)
    assert all(name.startswith("model.visual.") for name, _ in backbone.named_parameters())
    assert not any("attnpool" in name for name, _ in backbone.named_parameters())
    features = backbone(torch.randn(1, 3, 64, 64))
    assert features.pooled is None and features.dense is None and len(features.levels) == 4
    with pytest.raises(UserError, match="with_text=True"):
        backbone.encode_text(["a"])


def test_gradient_checkpointing_changes_no_gradient(build: Build) -> None:
    gradients = []
    for enabled in (False, True):
        backbone = build("vit_token", grad_checkpoint=enabled)
        torch.manual_seed(1)
        backbone(torch.randn(2, 3, 32, 32)).dense.square().mean().backward()
        backbone.encode_text(["a red star"]).square().mean().backward()
        gradients.append([p.grad for p in backbone.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 40
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed)


def test_drop_path_acts_in_training_only(build: Build) -> None:
    plain, dropping = build("vit_token"), build("vit_token", drop_path_rate=0.5)
    images = torch.randn(4, 3, 32, 32)
    assert torch.equal(plain(images).pooled, dropping(images).pooled)
    dropping.train()
    assert not torch.equal(dropping(images).pooled, dropping(images).pooled)
    assert plain.state_dict().keys() == dropping.state_dict().keys()


@pytest.mark.parametrize("family", ["vit_token", "siglip_timm"])
def test_patch_dropout_trains_the_pooled_embedding_and_refuses_maps(families: dict, family: str) -> None:
    """In eval mode nothing is dropped; in training the maps do not exist, and the pooled embedding is open_clip's."""
    arch = copy.deepcopy(families[family])
    if family == "vit_token":
        arch["vision_cfg"]["patch_dropout"] = 0.5
    backbone = CLIPBackbone(arch, out_indices=(), dense=None)
    if family == "siglip_timm":  # open_clip has no key for timm's own
        backbone.model.visual.trunk.patch_drop = PatchDropout(0.5, num_prefix_tokens=0)
    images = torch.randn(2, 3, *backbone.native_size)
    torch.manual_seed(1)
    pooled = backbone.train()(images).pooled
    torch.manual_seed(1)
    assert torch.equal(pooled, backbone.model.encode_image(images))
    assert not torch.equal(backbone(images).pooled, pooled)
    with pytest.raises(UserError, match="patch dropout.*out_indices=.. and dense=None"):
        backbone(images, dense="projected")
    assert backbone.eval()(images, dense="projected").dense is not None


def test_prompts_appended_beside_dropped_patches_are_not_pooled(families: dict) -> None:
    arch = copy.deepcopy(families["vit_average"])
    arch["vision_cfg"]["patch_dropout"] = 0.5
    backbone = CLIPBackbone(arch, out_indices=(), dense=None).train()

    class Appended(Insertion):
        def embed(self, tokens: torch.Tensor) -> torch.Tensor:
            return torch.cat([tokens, tokens.new_zeros(tokens.shape[0], 3, tokens.shape[2])], dim=1)

    grid = (backbone.native_size[0] // backbone.stride) ** 2
    assert backbone(torch.randn(1, 3, *backbone.native_size), insertions=[Appended()]).tokens.shape[1] == 1 + grid // 2


def test_autocast_keeps_norms_in_float32_and_results_close(vit: CLIPBackbone) -> None:
    images = torch.randn(1, 3, 32, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = vit(images).pooled
    assert torch.cosine_similarity(low.float(), vit(images).pooled).item() > 0.999


def test_normalize_uses_the_tags_statistics(build: Build) -> None:
    clip = build("vit_token")
    gray = torch.full((1, 3, 2, 2), 0.5)
    expected = (0.5 - torch.tensor(clip.image_mean)) / torch.tensor(clip.image_std)
    torch.testing.assert_close(clip.normalize(gray)[0, :, 0, 0], expected)
    assert clip.image_mean == (0.48145466, 0.4578275, 0.40821073)
    assert CLIPBackbone("ViT-B-16-SigLIP", with_text=False).image_mean == (0.5, 0.5, 0.5)


def test_normalize_refuses_bytes(vit: CLIPBackbone) -> None:
    with pytest.raises(UserError, match=r"floating-point images in 0\.\.1, not torch.uint8"):
        vit.normalize(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))


def test_native_size_of_a_config_without_one_is_open_clips_default(families: dict) -> None:
    config = {**families["resnet"], "vision_cfg": dict(families["resnet"]["vision_cfg"])}
    del config["vision_cfg"]["image_size"]
    for with_pool in (True, False):
        assert CLIPBackbone(config, with_pool=with_pool, with_text=False).native_size == (224, 224)


def test_what_cannot_be_walked_is_explained(families: dict) -> None:
    vision = families["vit_token"]["vision_cfg"]
    wide = CLIPBackbone({**families["vit_token"], "vision_cfg": {**vision, "image_size": (32, 64)}}, with_text=False)
    with pytest.raises(UserError, match="native size is not square"):
        wide(torch.zeros(1, 3, 32, 64))
    custom = CLIPBackbone({**families["vit_token"], "vision_cfg": {**vision, "block_type": "custom", "qk_norm": True}},
                          with_text=False)
    with pytest.raises(UserError, match="value path of .* is not known"):
        custom(torch.zeros(1, 3, *custom.native_size), dense="value")
    with pytest.raises(UserError, match="smaller than the stride"):
        CLIPBackbone(families["resnet"], input_resolution=16)


def test_registry_builds_from_a_plain_dict() -> None:
    backbone = MODELS.build({"type": "CLIPBackbone", "arch": "tiny-rn", "out_indices": (3,), "trainable": "none"})
    assert isinstance(backbone, CLIPBackbone) and backbone.out_channels == [768]
    assert not any(p.requires_grad for p in backbone.parameters())


def test_arch_from_a_json_file(tmp_path: Path, families: dict[str, Any]) -> None:
    path = tmp_path / "small.json"
    path.write_text(json.dumps(families["vit_token"]))
    assert CLIPBackbone(str(path)).embed_dim == 24


@pytest.mark.parametrize(("options", "message"), [
    ({"arch": "ViT-B-61"}, "Did you mean 'ViT-B-16'"),
    ({"arch": {"vision_cfg": {}}}, "lacks embed_dim, text_cfg"),
    ({"arch": "missing.json"}, "missing.json cannot be read"),
    ({"arch": "tiny-rn", "dense": "projcted"}, "Did you mean 'projected'"),
    ({"arch": "tiny-rn", "out_indices": (4,)}, "levels 0 to 3"),
    ({"arch": "tiny-rn", "trainable": "nothing"}, "is unknown"),
    ({"arch": "tiny-rn", "trainable": ["visual.layer9.*"]}, "matches no parameter"),
    ({"arch": "roberta-ViT-B-32"}, "Hugging Face text encoder"),
    ({"arch": "coca_ViT-B-32"}, "captioning model"),
])
def test_wrong_arguments_are_explained(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        CLIPBackbone(**options)


@pytest.mark.parametrize(("weights", "message"), [
    ("opeanai", "neither a file nor a pretrained tag of RN50.*Did you mean 'openai'"),
    ("nowhere/weights.safetensors", "There is no weights file nowhere/weights.safetensors"),
    ("builtin", "no built-in weights for RN50"),
])
def test_wrong_weights_are_explained(weights: str, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        CLIPBackbone.from_pretrained("RN50", weights, with_text=False)


def test_no_network_names_the_file_and_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(open_clip_models.socket, "getaddrinfo", offline)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(WeightsError, match="RN50/openai .*cannot be fetched .no route to host.*give its path"):
        CLIPBackbone.from_pretrained("RN50", "openai", with_text=False)


def test_a_resnet_gives_its_stem() -> None:
    backbone = CLIPBackbone("tiny-rn", with_text=False).eval()
    images = torch.randn(1, 3, 64, 96)
    stem = backbone(images).stem
    assert stem.shape == (1, 24, 16, 24) and torch.equal(stem, backbone.model.visual.stem(images))
