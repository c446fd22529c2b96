"""Small DenseCLIP segmentors, and samples for them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

NAMES = ("sky", "fire hydrant", "tree")
TEXT = dict(context_length=24, vocab_size=49408, width=32, heads=2, layers=2)
RESNET = dict(embed_dim=16, vision_cfg=dict(layers=[1, 1, 1, 1], width=4, head_width=32, image_size=64), text_cfg=TEXT,
              quick_gelu=True)
VIT = dict(embed_dim=16, vision_cfg=dict(layers=4, width=32, head_width=16, patch_size=16, image_size=64),
           text_cfg=TEXT, quick_gelu=True)


def head(**changes: Any) -> dict[str, Any]:
    from mmseg.models.decode_heads import FPNHead
    from mmseg.models.losses import CrossEntropyLoss

    return dict(type=FPNHead, in_channels=[8] * 4, in_index=[0, 1, 2, 3], feature_strides=[4, 8, 16, 32], channels=8,
                dropout_ratio=0.1, norm_cfg=dict(type="BN"), loss_decode=dict(type=CrossEntropyLoss), **changes)


def neck(**changes: Any) -> dict[str, Any]:
    from mmseg.models.necks import FPN

    return dict(type=FPN, out_channels=8, num_outs=4, **changes)


@pytest.fixture
def segmentor_config():
    """`segmentor_config(vit=False, **changes)`: config of a small DenseCLIPSegmentor."""
    from mmengine.config import ConfigDict
    from mmseg.models.losses import CrossEntropyLoss

    from clipapps.clip import CLIPBackbone
    from clipapps.projects.denseclip.context_decoder import ContextDecoder
    from clipapps.projects.denseclip.models import DenseCLIPSegmentor, IdentityHead
    from clipapps.projects.denseclip.preprocessing import CLIPSegPreprocessor
    from clipapps.projects.denseclip.pyramid import ViTPyramid

    def make(vit: bool = False, **changes: Any) -> dict[str, Any]:
        config = dict(
            type=DenseCLIPSegmentor, class_names=NAMES, data_preprocessor=dict(type=CLIPSegPreprocessor, size=(64, 64)),
            backbone=dict(type=CLIPBackbone, arch=VIT if vit else RESNET, out_indices=(0, 1, 2, 3), trainable="image",
                          size_policy="floor"),
            pyramid=dict(type=ViTPyramid) if vit else None, score_concat_index=2 if vit else 3,
            context_decoder=dict(type=ContextDecoder, width=16, heads=2, layers=2, dropout=0.1),
            neck=neck(), decode_head=head(),
            identity_head=dict(type=IdentityHead, loss_decode=dict(type=CrossEntropyLoss, loss_weight=0.4)),
            test_cfg=ConfigDict(mode="whole"))
        return {**config, **changes}

    return make


@pytest.fixture
def build(segmentor_config):
    """`build(vit=False, **changes)`: a small DenseCLIPSegmentor from a fixed seed."""
    from clipapps.registry import MODELS

    def make(vit: bool = False, **changes: Any):
        torch.manual_seed(0)
        return MODELS.build(segmentor_config(vit, **changes))

    return make


@pytest.fixture
def batch():
    """Two normalized images (2, 3, 64, 64) and their data samples; a quarter of the labels is ignored."""
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, 3, 64, 64, generator=generator)
    samples = []
    for _ in images:
        labels = torch.randint(0, len(NAMES), (1, 64, 64), generator=generator)
        labels[:, :16] = 255
        sample = SegDataSample(metainfo=dict(img_shape=(64, 64), ori_shape=(64, 64)))
        sample.gt_sem_seg = PixelData(data=labels)
        samples.append(sample)
    return images, samples
