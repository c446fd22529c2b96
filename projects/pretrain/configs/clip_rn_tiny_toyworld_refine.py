"""The second, short run of the tiny CLIP ResNet: more scenes at the native size, from where the curriculum ended.

    clipapps train pretrain/clip_rn_tiny_toyworld_refine load_from=work_dirs/clip_rn_tiny_toyworld/iter_2100.pth

Half of the scenes hold one object, as in zero-shot classification, half hold up to four, as in dense prediction.
"""

from mmengine.config import read_base
from mmengine.optim import CosineAnnealingLR, LinearLR

from clipapps.toyworld import ToyWorldScenes

with read_base():
    from .clip_rn_tiny_toyworld import *

_iterations = 500
_detail = dict(category=0.9, texture=0.45, size=0.3, position=0.2, orientation=0.15)
train_dataloader.dataset = dict(
    type=ToyWorldScenes, split="train", seed=1,
    stages=[dict(num_scenes=64 * _iterations, size=128, detail=_detail, spec=spec)
            for spec in (dict(depth=0.15), dict(max_objects=4, depth=0.15, empty=0.04))])
train_dataloader.sampler.shuffle = True
train_cfg.max_iters = _iterations
train_cfg.val_interval = _iterations
optim_wrapper.optimizer.lr = 4e-4
param_scheduler = [
    dict(type=LinearLR, start_factor=0.1, by_epoch=False, end=30),
    dict(type=CosineAnnealingLR, eta_min=1e-5, by_epoch=False, begin=30, end=_iterations),
]
