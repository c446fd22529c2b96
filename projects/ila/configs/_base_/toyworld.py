"""Moving scenes of the toy world: 14 motions that no single frame tells apart, 8 frames of 64 px."""

from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.optim import OptimWrapper
from mmengine.runner import IterBasedTrainLoop, TestLoop, ValLoop
from torch.optim import AdamW

from clipapps.clip import CLIPBackbone
from clipapps.projects.ila.hooks import SameClassesHook
from clipapps.projects.ila.metrics import ILAAccuracy
from clipapps.projects.ila.models import ILAClassifier
from clipapps.projects.ila.optimization import ILAParameterGroups, WarmupCosineLR
from clipapps.projects.ila.preprocessing import ILAPreprocessor
from clipapps.toyworld import ToyWorldVideos

_steps = 288  # of 8 films; no film is seen twice
_ila = dict(
    type=ILAClassifier,
    num_frames=8,
    backbone=dict(type=CLIPBackbone, arch="tiny-vit", weights="builtin", trainable="none", with_text=False),
    alignment=dict(channels=64, variant="k400"),
    integration=dict(layers=1),
    head=dict(num_classes=14, dropout=0.1),
    label_smoothing=0.1,
    data_preprocessor=dict(type=ILAPreprocessor, mean=None, std=None))  # the tiny CLIP's own statistics
_mit = dict(_ila, alignment=None)
_mean_pool = dict(_ila, alignment=None, integration=None)

train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type=InfiniteSampler, shuffle=True),
    dataset=dict(type=ToyWorldVideos, num_videos=8 * _steps, frames=8, size=64, split="train"))
val_dataloader = dict(
    batch_size=16,
    num_workers=0,
    sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(type=ToyWorldVideos, num_videos=280, frames=8, size=64, split="val"))
test_dataloader = val_dataloader
optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=AdamW, lr=3e-3, betas=(0.9, 0.98)),
    constructor=ILAParameterGroups,
    groups=[
        dict(names=["message_"], lr=3e-3, weight_decay=1e-2),
        dict(names=["temporal_"], lr=6e-4, weight_decay=1e-2),  # the published ratio to the others
        dict(names=["mit.", "head."], lr=3e-3, weight_decay=1e-2),
    ])
param_scheduler = [dict(type=WarmupCosineLR, end=_steps, warmup=20, eta_min=1e-5)]
train_cfg = dict(type=IterBasedTrainLoop, max_iters=_steps, val_interval=_steps)
val_cfg = dict(type=ValLoop)
test_cfg = dict(type=TestLoop)
val_evaluator = dict(type=ILAAccuracy)
test_evaluator = val_evaluator
custom_hooks = [dict(type=SameClassesHook)]
default_hooks = dict(checkpoint=dict(interval=_steps, save_best="top1"))
