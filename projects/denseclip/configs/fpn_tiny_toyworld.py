"""The paper's baseline on the toy world: the same tiny CLIP, data and steps, no language guidance.

clipapps train denseclip/fpn_tiny_toyworld
"""

from mmengine.config import read_base
from mmengine.optim import OptimWrapper
from mmengine.runner import IterBasedTrainLoop
from torch.optim import AdamW

from clipapps.clip import CLIPBackbone
from clipapps.projects.denseclip.mmseg_parts import FPN, CrossEntropyLoss, FPNHead
from clipapps.projects.denseclip.models import CLIPSegmentor
from clipapps.projects.denseclip.preprocessing import CLIPSegPreprocessor
from clipapps.projects.denseclip.schedules import WarmupPolyLR

with read_base():
    from ._base_.toyworld import *

model = dict(
    type=CLIPSegmentor,
    data_preprocessor=dict(type=CLIPSegPreprocessor, size=(128, 128)),
    backbone=dict(type=CLIPBackbone, arch="tiny-rn", weights="builtin", out_indices=(0, 1, 2, 3), size_policy="floor",
                  with_text=False, with_pool=False),
    class_names=_class_names,
    neck=dict(type=FPN, out_channels=32, num_outs=4, init_cfg=None),
    decode_head=dict(
        type=FPNHead, in_channels=[32, 32, 32, 32], in_index=[0, 1, 2, 3], feature_strides=[4, 8, 16, 32], channels=32,
        dropout_ratio=0.1, norm_cfg=dict(type="BN"), init_cfg=None,
        loss_decode=dict(type=CrossEntropyLoss, loss_weight=1.0)),
    test_cfg=dict(mode="whole"))

train_cfg = dict(type=IterBasedTrainLoop, max_iters=240, val_interval=240)
optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=AdamW, lr=2e-3, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.1), "norm": dict(decay_mult=0.0)}))
param_scheduler = [dict(type=WarmupPolyLR, end=240, power=0.9, eta_min=1e-6, warmup_iters=20, warmup_ratio=1e-3)]
