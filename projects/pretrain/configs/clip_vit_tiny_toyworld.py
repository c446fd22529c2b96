"""The tiny CLIP ViT that ships with clipapps, distilled from the tiny ResNet, whose text tower it shares.

    clipapps train pretrain/clip_vit_tiny_toyworld

On captions alone a ViT of this size learns colors and hardly any shape: the teacher's answers make shape count, its
dense map shows where what is, and Muon needs fewer pictures than AdamW. The student sees half the teacher's
resolution, 8 x 8 patches; `_refine` goes on at both.
"""

from mmengine.config import read_base
from mmengine.optim import CosineAnnealingLR, LinearLR

from clipapps.clip import CLIPBackbone
from clipapps.projects.pretrain.distillation import DistillationPretrainer
from clipapps.projects.pretrain.muon import MuonAdamW, MuonConstructor
from clipapps.toyworld import ToyWorldScenes

with read_base():
    from .clip_rn_tiny_toyworld import *

_batch = 96
_detail = dict(category=0.9, texture=0.6, size=0.5, position=0.4, orientation=0.5, lighting=0.7)
_mixed = dict(backlit=0.2, dark=0.2, tilted=0.3)
_stages = [  # shapes until they are known, then surroundings, then several objects of all sizes
    dict(num_scenes=250 * _batch, spec=dict(backgrounds=["plain"], sizes=["large"], backlit=0.0, dark=0.0)),
    dict(num_scenes=900 * _batch, spec=dict(sizes=["medium", "large"], **_mixed)),
    dict(num_scenes=850 * _batch, spec=dict(max_objects=4, depth=0.1, empty=0.03, group=0.25, **_mixed)),
]
_iterations = 2000

model = dict(
    type=DistillationPretrainer,
    backbone=dict(type=CLIPBackbone, arch="tiny-vit", weights=None, trainable="image"),
    teacher=dict(type=CLIPBackbone, arch="tiny-rn", weights="builtin"),
    image_sizes=(64,),
    answers=("category", "color", "background", "size", "lighting"),
    dense_answers="category",
    precision="bfloat16",
    channels_last=True,
)
train_dataloader.batch_size = _batch
train_dataloader.dataset = dict(type=ToyWorldScenes, split="train", seed=3, size=128, detail=_detail, stages=_stages)
train_cfg.max_iters = _iterations
train_cfg.val_interval = 500
optim_wrapper.constructor = MuonConstructor
optim_wrapper.optimizer = dict(type=MuonAdamW, lr=3e-3, weight_decay=0.05)
param_scheduler = [
    dict(type=LinearLR, start_factor=0.01, by_epoch=False, end=100),
    dict(type=CosineAnnealingLR, eta_min=1e-5, by_epoch=False, begin=100, end=_iterations),
]
default_hooks.checkpoint.interval = 200
