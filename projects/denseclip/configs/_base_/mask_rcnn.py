"""Mask R-CNN at its published width."""

from clipapps.projects.denseclip.detection.anchors import AnchorGenerator
from clipapps.projects.denseclip.detection.matching import MaxIoUAssigner, RandomSampler
from clipapps.projects.denseclip.detection.region_heads import BoxHead, MaskHead
from clipapps.projects.denseclip.detection.roi_head import RoIHead
from clipapps.projects.denseclip.detection.rpn_head import RPNHead
from clipapps.projects.denseclip.detection.suppression import BoxSelection, ProposalSelection
from clipapps.projects.denseclip.mmseg_parts import FPN

_neck = dict(type=FPN, out_channels=256, num_outs=5, init_cfg=None)
_rpn_head = dict(
    type=RPNHead,
    feat_channels=256,
    anchors=dict(type=AnchorGenerator, strides=[4, 8, 16, 32, 64], ratios=[0.5, 1.0, 2.0], scales=[8]),
    assigner=dict(type=MaxIoUAssigner, pos_iou=0.7, neg_iou=0.3, min_pos_iou=0.3),
    sampler=dict(type=RandomSampler, num=256, pos_fraction=0.5),
    train_selection=dict(type=ProposalSelection, nms_pre=2000, nms_iou=0.7, max_per_image=1000),
    test_selection=dict(type=ProposalSelection, nms_pre=1000, nms_iou=0.7, max_per_image=1000))
_roi_head = dict(
    type=RoIHead,
    strides=[4, 8, 16, 32],
    finest_scale=56,
    box_size=7,
    mask_size=14,
    assigner=dict(type=MaxIoUAssigner, pos_iou=0.5, neg_iou=0.5, min_pos_iou=0.5),
    sampler=dict(type=RandomSampler, num=512, pos_fraction=0.25),
    bbox_head=dict(type=BoxHead, fc_channels=1024),
    mask_head=dict(type=MaskHead, num_convs=4, conv_channels=256),
    selection=dict(type=BoxSelection, score_threshold=0.05, nms_iou=0.5, max_per_image=100),
    mask_threshold=0.5)
