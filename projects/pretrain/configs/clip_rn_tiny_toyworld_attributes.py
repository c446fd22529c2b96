r"""The third, short run of the tiny CLIP ResNet: captions that name what the first two seldom named.

    clipapps train pretrain/clip_rn_tiny_toyworld_attributes \
        load_from=work_dirs/clip_rn_tiny_toyworld_refine/iter_500.pth

Half of all scenes are backlit or dark and half of all objects tilted, since an attribute that is nearly always the same
is never worth naming to a contrastive loss.
"""

from mmengine.config import read_base
from mmengine.optim import CosineAnnealingLR, LinearLR

from clipapps.toyworld import ToyWorldScenes

with read_base():
    from .clip_rn_tiny_toyworld import *

_iterations = 360
_detail = dict(category=0.9, texture=0.6, size=0.5, position=0.4, orientation=0.5, lighting=0.7)
_spec = dict(backlit=0.25, dark=0.25, tilted=0.5)
train_dataloader.dataset = dict(
    type=ToyWorldScenes, split="train", seed=2,
    stages=[dict(num_scenes=64 * _iterations, size=128, detail=_detail, spec=spec | _spec)
            for spec in (dict(depth=0.15), dict(max_objects=4, depth=0.15, empty=0.04, group=0.3))])
train_dataloader.sampler.shuffle = True
train_cfg.max_iters = _iterations
train_cfg.val_interval = _iterations
optim_wrapper.optimizer.lr = 4e-4
param_scheduler = [
    dict(type=LinearLR, start_factor=0.1, by_epoch=False, end=30),
    dict(type=CosineAnnealingLR, eta_min=1e-5, by_epoch=False, begin=30, end=_iterations),
]
default_hooks.checkpoint.interval = 60
