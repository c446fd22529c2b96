"""DenseCLIP's RetinaNet with the built-in tiny CLIP on the toy world: minutes of training on one CPU core.

clipapps train denseclip/denseclip_retinanet_tiny_toyworld
"""

from mmengine.config import read_base
from mmengine.optim import OptimWrapper
from mmengine.runner import IterBasedTrainLoop
from torch.optim import AdamW

from clipapps.clip import CLIPBackbone
from clipapps.projects.denseclip.context_decoder import ContextDecoder
from clipapps.projects.denseclip.detection.anchors import AnchorGenerator
from clipapps.projects.denseclip.detection.box_guidance import BoxScoreLoss
from clipapps.projects.denseclip.detection.matching import MaxIoUAssigner
from clipapps.projects.denseclip.detection.models import DenseCLIPRetinaNet
from clipapps.projects.denseclip.detection.retina_head import RetinaHead
from clipapps.projects.denseclip.mmseg_parts import FPN
from clipapps.projects.denseclip.schedules import WarmupPolyLR

with read_base():
    from ._base_.toyworld_instances import *

model = dict(
    type=DenseCLIPRetinaNet,
    backbone=dict(type=CLIPBackbone, arch="tiny-rn", weights="builtin", out_indices=(0, 1, 2, 3), size_policy="floor",
                  trainable="image"),
    class_names=_class_names,
    prompt_mode="post",
    num_contexts=8,
    context_std=0.02,
    context_decoder=dict(type=ContextDecoder, width=64, heads=4, layers=3, dropout=0.1),
    tau=0.07,
    score_concat_index=3,
    box_score_loss=dict(type=BoxScoreLoss),
    neck=dict(type=FPN, out_channels=64, start_level=1, add_extra_convs="on_input", num_outs=5, init_cfg=None),
    bbox_head=dict(
        type=RetinaHead, feat_channels=64, stacked_convs=2,
        anchors=dict(type=AnchorGenerator, strides=[8, 16, 32, 64, 128], octave_base_scale=2, scales_per_octave=3),
        assigner=dict(type=MaxIoUAssigner, pos_iou=0.5, neg_iou=0.4)))

train_cfg = dict(type=IterBasedTrainLoop, max_iters=600, val_interval=600)
optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=AdamW, lr=2e-3, weight_decay=1e-4),
    clip_grad=dict(max_norm=10.0),
    paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.1), "norm": dict(decay_mult=0.0)}))
param_scheduler = [dict(type=WarmupPolyLR, end=600, power=0.9, eta_min=1e-6, warmup_iters=50, warmup_ratio=1e-3)]
