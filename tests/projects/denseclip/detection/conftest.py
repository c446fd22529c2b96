"""Small detectors and samples for them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

NAMES = ("bus", "fire hydrant", "tree")
TEXT = dict(context_length=24, vocab_size=49408, width=32, heads=2, layers=1)
RESNET = dict(embed_dim=16, vision_cfg=dict(layers=[1, 1, 1, 1], width=4, head_width=32, image_size=64), text_cfg=TEXT,
              quick_gelu=True)


def parts(kind: str) -> dict[str, Any]:
    from mmseg.models.necks import FPN

    from clipapps.projects.denseclip.detection.anchors import AnchorGenerator
    from clipapps.projects.denseclip.detection.matching import MaxIoUAssigner, RandomSampler
    from clipapps.projects.denseclip.detection.region_heads import BoxHead, MaskHead
    from clipapps.projects.denseclip.detection.retina_head import RetinaHead
    from clipapps.projects.denseclip.detection.roi_head import RoIHead
    from clipapps.projects.denseclip.detection.rpn_head import RPNHead
    from clipapps.projects.denseclip.detection.suppression import ProposalSelection

    if kind == "retinanet":
        return dict(
            neck=dict(type=FPN, out_channels=8, start_level=1, add_extra_convs="on_input", num_outs=5),
            bbox_head=dict(
                type=RetinaHead, feat_channels=8, stacked_convs=1,
                anchors=dict(type=AnchorGenerator, strides=[8, 16, 32, 64, 128], octave_base_scale=2,
                             scales_per_octave=3),
                assigner=dict(type=MaxIoUAssigner, pos_iou=0.5, neg_iou=0.4)))
    return dict(
        neck=dict(type=FPN, out_channels=8, num_outs=5),
        rpn_head=dict(
            type=RPNHead, feat_channels=8, anchors=dict(type=AnchorGenerator, strides=[4, 8, 16, 32, 64], scales=[4]),
            assigner=dict(type=MaxIoUAssigner, pos_iou=0.7, neg_iou=0.3, min_pos_iou=0.3),
            sampler=dict(type=RandomSampler, num=32, pos_fraction=0.5),
            train_selection=dict(type=ProposalSelection, max_per_image=20),
            test_selection=dict(type=ProposalSelection, max_per_image=20)),
        roi_head=dict(
            type=RoIHead, finest_scale=16, sampler=dict(type=RandomSampler, num=16, pos_fraction=0.25),
            bbox_head=dict(type=BoxHead, fc_channels=16), mask_head=dict(type=MaskHead, num_convs=1, conv_channels=8)))


@pytest.fixture
def build():
    """`build("retinanet" or "mask_rcnn", guided=True, **changes)`: a small detector from a fixed seed."""
    from clipapps.clip import CLIPBackbone
    from clipapps.projects.denseclip.context_decoder import ContextDecoder
    from clipapps.projects.denseclip.detection import models
    from clipapps.projects.denseclip.detection.box_guidance import BoxScoreLoss
    from clipapps.registry import MODELS

    def make(kind: str, guided: bool = True, **changes: Any):
        torch.manual_seed(0)
        stem = {"retinanet": "RetinaNet", "mask_rcnn": "MaskRCNN"}[kind]
        config = dict(type=getattr(models, f"{'DenseCLIP' if guided else 'CLIP'}{stem}"), class_names=NAMES,
                      backbone=dict(type=CLIPBackbone, arch=RESNET, out_indices=(0, 1, 2, 3), trainable="image",
                                    size_policy="floor", position_mode="crop"),
                      **parts(kind))
        if guided:
            config |= dict(context_decoder=dict(type=ContextDecoder, width=16, heads=2, layers=1, dropout=0.1),
                           box_score_loss=dict(type=BoxScoreLoss))
        return MODELS.build({**config, **changes})

    return make


@pytest.fixture
def batch():
    """Two normalized images (2, 3, 64, 96); the first has two objects, the second, which is smaller, none."""
    from mmengine.structures import InstanceData

    from clipapps.projects.denseclip.detection.samples import DetectionSample

    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    images[1, :, 32:] = 0
    first = DetectionSample(metainfo=dict(img_shape=(64, 90), pad_shape=(64, 96), ori_shape=(128, 180),
                                          scale_factor=(0.5, 0.5), img_id=0))
    masks = torch.zeros(2, 64, 90, dtype=torch.uint8)
    masks[0, 10:40, 5:35] = 1
    masks[1, 30:60, 50:85] = 1
    first.gt_instances = InstanceData(bboxes=torch.tensor([[5.0, 10, 35, 40], [50, 30, 85, 60]]),
                                      labels=torch.tensor([2, 0]), masks=masks)
    second = DetectionSample(metainfo=dict(img_shape=(30, 60), pad_shape=(32, 64), ori_shape=(30, 60), img_id=1))
    second.gt_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long),
                                       masks=torch.zeros(0, 30, 60, dtype=torch.uint8))
    return images, [first, second]
