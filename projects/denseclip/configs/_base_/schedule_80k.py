"""The published recipe: AdamW, 80k iterations at batch 32, polynomial decay times linear warm-up."""

from mmengine.optim import OptimWrapper
from mmengine.runner import IterBasedTrainLoop
from torch.optim import AdamW

from clipapps.projects.denseclip.schedules import WarmupPolyLR

optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=AdamW, lr=1e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-4),
    # Of several keys that a parameter's name contains the longest counts alone: inside the backbone every norm is
    # decayed; the text tower is frozen and gets no update.
    paramwise_cfg=dict(custom_keys={
        "backbone": dict(lr_mult=0.1),
        "pyramid": dict(lr_mult=0.1),  # belongs to the backbone in the released code
        "norm": dict(decay_mult=0.0),
    }))
param_scheduler = [
    dict(type=WarmupPolyLR, end=80_000, power=0.9, eta_min=1e-6, warmup_iters=1500, warmup_ratio=1e-6)]
train_cfg = dict(type=IterBasedTrainLoop, max_iters=80_000, val_interval=8000)
default_hooks = dict(checkpoint=dict(interval=8000))
env_cfg = dict(cudnn_benchmark=True)
sync_bn = "torch"  # batch norms become SyncBatchNorm when several GPUs train together
find_unused_parameters = True
