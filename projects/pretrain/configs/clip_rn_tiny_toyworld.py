"""The tiny CLIP ResNet that ships with clipapps (`weights="builtin"`), trained on the toy world by curriculum.

    clipapps train pretrain/clip_rn_tiny_toyworld

Shapes first, then surroundings, then several objects, then the native size: a small tower learns colors in a minute
and shapes only when nothing distracts from them. Every index is a new scene, so one pass is all there is.
"""

from mmengine.dataset import DefaultSampler, default_collate
from mmengine.optim import CosineAnnealingLR, LinearLR, OptimWrapper
from mmengine.runner import IterBasedTrainLoop, TestLoop, ValLoop
from torch.optim import AdamW

from clipapps.clip import CLIPBackbone
from clipapps.projects.pretrain.metrics import ToyZeroShotMetric
from clipapps.projects.pretrain.models import ContrastivePretrainer
from clipapps.toyworld import ToyWorldScenes

_batch = 128
_crowded = dict(max_objects=4, depth=0.15, empty=0.04)
_rich = dict(texture=0.45, size=0.3, position=0.2, orientation=0.15)
_stages = [
    dict(num_scenes=200 * _batch, size=64, spec=dict(backgrounds=["plain"], sizes=["large"], backlit=0.0, dark=0.0),
         detail=dict(texture=0.15, size=0.0, position=0.05, lighting=0.0, background=0.1)),
    dict(num_scenes=700 * _batch, size=64, spec=dict(sizes=["medium", "large"], backlit=0.04, dark=0.04),
         detail=dict(size=0.1, position=0.1)),
    dict(num_scenes=800 * _batch, size=96, spec=_crowded, detail=_rich),
    dict(num_scenes=400 * _batch, size=128, spec=_crowded, detail=_rich),
]
_iterations = 2100

model = dict(
    type=ContrastivePretrainer,
    backbone=dict(type=CLIPBackbone, arch="tiny-rn", weights=None),
    precision="bfloat16",
    channels_last=True,
)

train_dataloader = dict(
    batch_size=_batch,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type=DefaultSampler, shuffle=False),
    collate_fn=dict(type=default_collate),
    dataset=dict(type=ToyWorldScenes, split="train", seed=0, stages=_stages),
)
train_cfg = dict(type=IterBasedTrainLoop, max_iters=_iterations, val_interval=700)
optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=AdamW, lr=1e-3, betas=(0.9, 0.98), weight_decay=0.05),
    clip_grad=dict(max_norm=1.0),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, custom_keys={"logit_scale": dict(decay_mult=0.0)}),
)
param_scheduler = [
    dict(type=LinearLR, start_factor=0.01, by_epoch=False, end=100),
    dict(type=CosineAnnealingLR, eta_min=1e-5, by_epoch=False, begin=100, end=_iterations),
]

val_dataloader = dict(
    batch_size=50,
    num_workers=0,
    sampler=dict(type=DefaultSampler, shuffle=False),
    collate_fn=dict(type=default_collate),
    dataset=dict(
        type=ToyWorldScenes, split="val", seed=0, size=128, with_masks=True,
        stages=[
            dict(num_scenes=1000, detail=dict(color=1.0, texture=1.0, size=1.0, background=1.0, category=1.0)),
            dict(num_scenes=200, spec=dict(min_objects=2, max_objects=4, group=0.5)),
        ],
    ),
)
val_cfg = dict(type=ValLoop)
val_evaluator = dict(
    type=ToyZeroShotMetric,
    chance=dict(category=10, color=8, texture=4, size=3, orientation=4, position=5, background=8, lighting=3, count=3),
)

test_dataloader = dict(
    batch_size=50,
    num_workers=0,
    sampler=dict(type=DefaultSampler, shuffle=False),
    collate_fn=dict(type=default_collate),
    dataset=dict(
        type=ToyWorldScenes, split="test", seed=0, size=128, with_masks=True,
        stages=[
            dict(num_scenes=2000, detail=dict(color=1.0, texture=1.0, size=1.0, background=1.0, category=1.0)),
            dict(num_scenes=1000, spec=dict(min_objects=2, max_objects=4, group=0.5)),
        ],
    ),
)
test_cfg = dict(type=TestLoop)
test_evaluator = val_evaluator

default_hooks = dict(checkpoint=dict(interval=300))
randomness = dict(seed=0)
