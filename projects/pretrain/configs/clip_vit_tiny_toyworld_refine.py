"""The second, short run of the tiny CLIP ViT: batches of 64 and of 128 pixels, so that it answers at both.

    clipapps train pretrain/clip_vit_tiny_toyworld_refine load_from=work_dirs/clip_vit_tiny_toyworld/iter_2000.pth

Half of the scenes hold one object, as in zero-shot classification, half hold up to four, as in dense prediction.
"""

from mmengine.config import read_base
from mmengine.optim import CosineAnnealingLR, LinearLR

from clipapps.toyworld import ToyWorldScenes

with read_base():
    from .clip_vit_tiny_toyworld import *

_iterations = 360
model["image_sizes"] = (64, 128)
train_dataloader.batch_size = 64
train_dataloader.dataset = dict(
    type=ToyWorldScenes, split="train", seed=4, size=128, detail=_detail,
    stages=[dict(num_scenes=32 * _iterations, spec=spec)
            for spec in (dict(depth=0.15, **_mixed), dict(max_objects=4, depth=0.15, empty=0.04, **_mixed))])
train_dataloader.sampler.shuffle = True
train_cfg.max_iters = _iterations
train_cfg.val_interval = _iterations
optim_wrapper.optimizer.lr = 1.5e-3
param_scheduler = [
    dict(type=LinearLR, start_factor=0.1, by_epoch=False, end=20),
    dict(type=CosineAnnealingLR, eta_min=1e-5, by_epoch=False, begin=20, end=_iterations),
]
default_hooks.checkpoint.interval = 120
