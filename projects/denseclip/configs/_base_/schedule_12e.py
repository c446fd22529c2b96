"""The published detection recipe: AdamW, 12 epochs at batch 16, rate divided by ten after epochs 8 and 11."""

from mmengine.optim import LinearLR, MultiStepLR, OptimWrapper
from mmengine.runner import EpochBasedTrainLoop
from torch.optim import AdamW

optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=AdamW, lr=1e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-4),
    clip_grad=dict(max_norm=0.1, norm_type=2),
    # Of several keys that a parameter's name contains the longest counts alone: inside the backbone every norm is
    # decayed; the text tower is frozen and gets no update.
    paramwise_cfg=dict(custom_keys={
        "backbone": dict(lr_mult=0.1),
        "norm": dict(decay_mult=0.0),
    }))
param_scheduler = [
    dict(type=LinearLR, start_factor=0.001, by_epoch=False, begin=0, end=501),  # full rate at step 500, as published
    dict(type=MultiStepLR, milestones=[8, 11], gamma=0.1, by_epoch=True, begin=0, end=12),
]
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=12, val_interval=1)
default_hooks = dict(checkpoint=dict(interval=1))
sync_bn = "torch"  # batch norms become SyncBatchNorm when several GPUs train together
find_unused_parameters = True
