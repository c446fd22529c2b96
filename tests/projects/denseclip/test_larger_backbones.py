"""Other CLIPs by configuration alone: each family small and run, the real names at full width on the meta device."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import init_default_scope

from clipapps.clip import open_clip_models
from clipapps.engine.config import load_config
from clipapps.projects.denseclip.pyramid import ViTPyramid
from clipapps.registry import MODELS

TEXT = dict(context_length=24, vocab_size=49408, width=32, heads=2, layers=2)
SIGLIP_TEXT = dict(TEXT, no_causal_mask=True, proj_bias=True, pool_type="last")
FAMILIES = {  # as RN50x4 (head width 64, so 40 heads there), ViT-L-14, SigLIP, a LAION ViT (plain GELU)
    "resnet x4": (dict(embed_dim=24, vision_cfg=dict(layers=[1, 1, 1, 1], width=10, head_width=64, image_size=96),
                       text_cfg=TEXT, quick_gelu=True), None, 3),
    "patch 14": (dict(embed_dim=24, vision_cfg=dict(layers=4, width=32, head_width=16, patch_size=14, image_size=56),
                      text_cfg=TEXT, quick_gelu=True), 14, 2),
    "siglip": (dict(embed_dim=192, custom_text=True, init_logit_bias=-10, text_cfg=SIGLIP_TEXT, vision_cfg=dict(
        image_size=64, timm_model_name="vit_tiny_patch16_224", timm_pool="map", timm_proj="none")), 16, 2),
    "laion": (dict(embed_dim=24, vision_cfg=dict(layers=4, width=32, head_width=16, patch_size=16, image_size=64),
                   text_cfg=TEXT), 16, 2),
}


def build(segmentor_config, family: str, **changes):
    arch, patch_size, index = FAMILIES[family]
    config = segmentor_config(pyramid=None if patch_size is None else dict(type=ViTPyramid, patch_size=patch_size),
                              score_concat_index=index, **changes)
    torch.manual_seed(0)
    return MODELS.build(dict(config, backbone=dict(config["backbone"], arch=arch)))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_small_one_of_each_family_trains_and_predicts(segmentor_config, batch, family):
    model = build(segmentor_config, family).train()
    torch.nn.init.ones_(model.gamma)
    model.parse_losses(model.loss(*batch))[0].backward()
    assert model.contexts.grad.abs().sum() > 0 and model.gamma.grad.abs().sum() > 0
    model.eval()
    with torch.no_grad():
        features = model.encode(torch.randn(1, 3, 96, 64))
        assert features.score_map.abs().max() <= 1 + 1e-5 and features.score_map.shape[1] == 3
        assert features.levels[model.score_concat_index].shape[2:] == features.score_map.shape[2:]
        assert model.encode_decode(torch.randn(1, 3, 96, 64), [dict(img_shape=(96, 64))]).shape == (1, 3, 96, 64)


def test_heads_of_the_attention_pool_follow_from_the_width(segmentor_config):
    pool = build(segmentor_config, "resnet x4").backbone.model.visual.attnpool
    assert pool.num_heads == 10 * 32 // 64 and pool.positional_embedding.shape == (10, 320)


def test_contexts_stand_first_where_there_is_no_start_token(segmentor_config):
    """Without causal mask the tower reads its whole length, padding included, and pools the last position."""
    model = build(segmentor_config, "siglip").eval()
    assert model.token_ids.shape == (3, 24 - 8)
    seen = []
    model.backbone.encode_text_embeddings = lambda embeds, index: seen.append((embeds, index)) or embeds[:, 0]
    with torch.no_grad():
        model._encode_shared(None)
    embeds, index = seen[0]
    assert embeds.shape[:2] == (3, 24) and index.tolist() == [23, 23, 23]
    assert torch.equal(embeds[:, :8], model.contexts.expand(3, -1, -1))
    assert torch.equal(embeds[:, 8:], model.backbone.embed_tokens(model.token_ids))


#: config -> widths of the levels, joint space, text width, grid of the positions (None: a timm tower keeps its own)
REAL = {
    "denseclip_fpn_rn50x4_80k_ade20k_512": ([320, 640, 1280, 2560], 640, 640, 16),
    "denseclip_fpn_vit_l14_80k_ade20k_560": ([1024] * 4, 768, 768, 40),
    "denseclip_fpn_vit_b16_siglip_80k_ade20k_512": ([768] * 4, 768, 768, None),
    "denseclip_fpn_vit_b16_laion2b_80k_ade20k_640": ([768] * 4, 512, 512, 40),
}


@pytest.mark.parametrize("name", REAL)
def test_the_real_ones_have_the_right_shapes(name, monkeypatch):
    class OneTokenPerName:
        def __call__(self, texts, context_length):
            return torch.ones(len(texts), context_length, dtype=torch.long)

    init_default_scope("clipapps")
    cfg = load_config(f"denseclip/{name}", ["model.backbone.weights=None"])
    if "siglip" in name:  # its tokenizer has to be fetched
        monkeypatch.setattr(open_clip_models, "build_tokenizer", lambda arch: OneTokenPerName())
    backbone = {key: value for key, value in cfg.model.backbone.items() if key != "drop_path_rate"}
    with torch.device("meta"):
        model = MODELS.build(dict(cfg.model, backbone=backbone)).eval()
    channels, embed_dim, text_width, grid = REAL[name]
    assert model.backbone.out_channels == channels and model.backbone.embed_dim == embed_dim
    assert model.contexts.shape == (1, 8, text_width)
    side = cfg.model.data_preprocessor["size"][0]
    if grid is not None:
        assert model.backbone.native_size == (side, side) == (grid * model.backbone.stride,) * 2
    inputs = [lateral.conv.in_channels for lateral in model.neck.lateral_convs]
    assert inputs == [width + 150 * (level == model.score_concat_index) for level, width in enumerate(channels)]
