"""The tiny CLIP ResNet under RetinaNet and Mask R-CNN, for objects of 20 to 80 px in 128 px pictures."""

from mmengine.optim import OptimWrapper
from mmengine.runner import IterBasedTrainLoop
from torch.optim import AdamW

from clipapps.clip import CLIPBackbone
from clipapps.projects.denseclip.context_decoder import ContextDecoder
from clipapps.projects.denseclip.detection.anchors import AnchorGenerator
from clipapps.projects.denseclip.detection.box_guidance import BoxScoreLoss
from clipapps.projects.denseclip.detection.matching import MaxIoUAssigner, RandomSampler
from clipapps.projects.denseclip.detection.models import CLIPMaskRCNN, CLIPRetinaNet
from clipapps.projects.denseclip.detection.region_heads import BoxHead, MaskHead
from clipapps.projects.denseclip.detection.retina_head import RetinaHead
from clipapps.projects.denseclip.detection.roi_head import RoIHead
from clipapps.projects.denseclip.detection.rpn_head import RPNHead
from clipapps.projects.denseclip.detection.suppression import ProposalSelection
from clipapps.projects.denseclip.mmseg_parts import FPN
from clipapps.projects.denseclip.schedules import WarmupPolyLR

_plain_backbone = dict(type=CLIPBackbone, arch="tiny-rn", weights="builtin", out_indices=(0, 1, 2, 3),
                       size_policy="floor", with_text=False, with_pool=False)
# The tiny CLIP's attention pool, asked at every position, answers with the picture as a whole; its value path knows
# where things are.
_guided_backbone = dict(type=CLIPBackbone, arch="tiny-rn", weights="builtin", out_indices=(0, 1, 2, 3), dense="value",
                        size_policy="floor", trainable="image")
_guidance = dict(
    backbone=_guided_backbone,
    prompt_mode="post",
    num_contexts=8,
    context_std=0.02,
    context_decoder=dict(type=ContextDecoder, width=64, heads=4, layers=3, dropout=0.1),
    tau=0.07,
    concat_over_tau=True,
    score_concat_index=3,
    box_score_loss=dict(type=BoxScoreLoss))
_retinanet = dict(
    type=CLIPRetinaNet,
    backbone=_plain_backbone,
    neck=dict(type=FPN, out_channels=64, start_level=1, add_extra_convs="on_input", num_outs=5, init_cfg=None),
    bbox_head=dict(
        type=RetinaHead, feat_channels=64, stacked_convs=2,
        anchors=dict(type=AnchorGenerator, strides=[8, 16, 32, 64, 128], octave_base_scale=2, scales_per_octave=3),
        assigner=dict(type=MaxIoUAssigner, pos_iou=0.5, neg_iou=0.4)))
_mask_rcnn = dict(
    type=CLIPMaskRCNN,
    backbone=_plain_backbone,
    neck=dict(type=FPN, out_channels=64, num_outs=5, init_cfg=None),
    rpn_head=dict(
        type=RPNHead, feat_channels=64, anchors=dict(type=AnchorGenerator, strides=[4, 8, 16, 32, 64], scales=[4]),
        assigner=dict(type=MaxIoUAssigner, pos_iou=0.7, neg_iou=0.3, min_pos_iou=0.3),
        sampler=dict(type=RandomSampler, num=64, pos_fraction=0.5),
        train_selection=dict(type=ProposalSelection, nms_pre=300, max_per_image=100),
        test_selection=dict(type=ProposalSelection, nms_pre=100, max_per_image=50)),
    roi_head=dict(
        type=RoIHead, finest_scale=16, box_size=7, mask_size=14,
        sampler=dict(type=RandomSampler, num=32, pos_fraction=0.25),
        bbox_head=dict(type=BoxHead, fc_channels=128),
        mask_head=dict(type=MaskHead, num_convs=2, conv_channels=32)))

train_cfg = dict(type=IterBasedTrainLoop, max_iters=300, val_interval=300)
optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=AdamW, lr=2e-3, weight_decay=1e-4),
    clip_grad=dict(max_norm=10.0),
    paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.1), "norm": dict(decay_mult=0.0)}))
param_scheduler = [dict(type=WarmupPolyLR, end=300, power=0.9, eta_min=1e-6, warmup_iters=30, warmup_ratio=1e-3)]
