"""The shipped weights: those of `ila_tiny_toyworld`, trained on with every background, texture and light.

clipapps train ila/ila_tiny_toyworld
clipapps train ila/ila_tiny_toyworld_refine load_from=work_dirs/ila_tiny_toyworld/best.safetensors
"""

from mmengine.config import read_base

with read_base():
    from ._base_.toyworld import *

_steps = 200
_films = dict(_films, spec=dict(backgrounds=(
    "plain", "meadow", "beach", "sea", "desert", "snow", "mountains", "night sky", "brick wall")))

model = dict(_ila)
train_dataloader = dict(
    train_dataloader, dataset=dict(type=ToyWorldVideos, num_videos=_batch * _steps, seed=1, split="train", **_films))
val_dataloader = dict(val_dataloader, dataset=dict(type=ToyWorldVideos, num_videos=560, split="val", **_films))
test_dataloader = val_dataloader
param_scheduler = [dict(type=WarmupCosineLR, end=_steps, warmup=10, eta_min=1e-5)]
train_cfg = dict(type=IterBasedTrainLoop, max_iters=_steps, val_interval=_steps)
default_hooks = dict(checkpoint=dict(interval=_steps, save_best="top1"))
