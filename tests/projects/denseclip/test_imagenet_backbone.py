"""The "any backbone" variant: timm pyramids, a random attention pool, CLIP's text tower alone."""

from __future__ import annotations

import pytest
import torch

from clipapps.clip import CLIPBackbone
from clipapps.errors import UserError, WeightsError
from clipapps.projects.denseclip.imagenet_backbone import ImageNetBackbone
from clipapps.registry import MODELS

TEXT = dict(context_length=24, vocab_size=49408, width=32, heads=2, layers=2)
CLIP = dict(embed_dim=16, vision_cfg=dict(layers=1, width=32, head_width=16, patch_size=16, image_size=64),
            text_cfg=TEXT)


@pytest.mark.parametrize("arch, channels", [
    ("resnet18", [64, 128, 256, 512]), ("swin_tiny_patch4_window7_224", [96, 192, 384, 768])])
def test_levels_and_joint_space(arch, channels):
    backbone = ImageNetBackbone(arch, text_arch=CLIP, input_resolution=64).eval()
    assert backbone.out_channels == channels and backbone.embed_dim == 16
    assert backbone.attnpool.num_heads == channels[-1] // 64  # of 64 channels each, as CLIP's
    assert backbone.attnpool.positional_embedding.shape == (5, channels[-1])
    with torch.no_grad():
        features = backbone(torch.rand(2, 3, 64, 96))
    assert [tuple(level.shape[1:]) for level in features.levels] == [
        (width, 64 // stride, 96 // stride) for width, stride in zip(channels, (4, 8, 16, 32), strict=True)]
    assert features.pooled.shape == (2, 16) and features.dense.shape == (2, 16, 2, 3)


def test_its_statistics_are_those_of_its_own_training():
    assert ImageNetBackbone("resnet18", text_arch=CLIP).image_mean == (0.485, 0.456, 0.406)


def test_the_text_tower_is_clips_and_frozen(tmp_path):
    from clipapps.engine.checkpoint import save_weights

    torch.manual_seed(0)
    source = CLIPBackbone(CLIP)
    file = tmp_path / "clip.safetensors"
    save_weights(source.model.state_dict(), file)
    backbone = ImageNetBackbone("resnet18", text_arch=CLIP, text_weights=str(file)).eval()
    with torch.no_grad():
        expected = source.eval().encode_text(["a sky", "tree"])
        torch.testing.assert_close(backbone.encode_text(["a sky", "tree"]), expected)
    assert not any(name.startswith("clip.model.visual") for name in backbone.state_dict())
    frozen = {name for name, parameter in backbone.named_parameters() if not parameter.requires_grad}
    assert frozen == {name for name, _ in backbone.named_parameters() if name.startswith("clip.")}


def test_weights_of_a_file_are_taken_and_those_of_another_refused(tmp_path):
    import timm

    from clipapps.engine.checkpoint import save_weights

    torch.manual_seed(0)
    for arch in ("resnet18", "swin_tiny_patch4_window7_224"):
        whole = timm.create_model(arch, pretrained=False)
        save_weights(whole.state_dict(), tmp_path / f"{arch}.safetensors")
        backbone = ImageNetBackbone(arch, str(tmp_path / f"{arch}.safetensors"), with_text=False, with_pool=False)
        backbone.init_weights()
        own, source = backbone.image.state_dict(), whole.state_dict()
        name = next(name for name in own if "1" in name and name.endswith("weight"))
        assert torch.equal(own[name], source[name if name in source else name.replace("_", ".", 1)])
    with pytest.raises(WeightsError, match="is not for resnet18"):
        ImageNetBackbone("resnet18", str(tmp_path / "swin_tiny_patch4_window7_224.safetensors"),
                         with_text=False).init_weights()


def test_a_segmentor_trains_on_it(segmentor_config, batch):
    config = segmentor_config(backbone=dict(type=ImageNetBackbone, arch="resnet18", text_arch=CLIP,
                                            input_resolution=64))
    torch.manual_seed(0)
    model = MODELS.build(config).train()
    torch.nn.init.ones_(model.gamma)
    losses = model.loss(*batch)
    model.parse_losses(losses)[0].backward()
    assert {name for name, parameter in model.named_parameters() if parameter.grad is None} == {
        name for name, _ in model.named_parameters() if name.startswith("backbone.clip.")}
    assert model.contexts.grad.abs().sum() > 0 and model.backbone.attnpool.q_proj.weight.grad.abs().sum() > 0
    with torch.no_grad():
        assert model.eval().encode(batch[0]).score_map.shape == (2, 3, 2, 2)


@pytest.mark.parametrize("arguments, words", [
    (dict(arch="resnet5o"), "timm has no model 'resnet5o'. Did you mean"),
    (dict(arch="resnet18", trainable="norm"), "takes image, all, or none"),
])
def test_wrong_arguments_are_refused(arguments, words):
    with pytest.raises(UserError, match=words):
        ImageNetBackbone(text_arch=CLIP, **arguments)


def test_a_baseline_without_text_says_so():
    backbone = ImageNetBackbone("resnet18", with_text=False, with_pool=False)
    with pytest.raises(UserError, match="without its text tower"):
        backbone.encode_text(["sky"])
    assert backbone(torch.rand(1, 3, 64, 64)).dense is None
