"""The published recipe: AdamW on the new modules alone, 50 epochs at a total batch of 256, warm-up and one cosine."""

from mmengine.optim import OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, TestLoop, ValLoop
from torch.optim import AdamW

from clipapps.projects.ila.hooks import OffsetDecay, SameClassesHook
from clipapps.projects.ila.metrics import ILAAccuracy
from clipapps.projects.ila.optimization import ILAParameterGroups, WarmupCosineLR

optim_wrapper = dict(
    type=OptimWrapper,
    accumulative_counts=4,
    optimizer=dict(type=AdamW, lr=8e-6, betas=(0.9, 0.98), eps=1e-8, weight_decay=3e-3),
    constructor=ILAParameterGroups,
    groups=[
        dict(names=["message_"], lr=5e-4, weight_decay=1e-2),
        dict(names=["temporal_"], lr=8e-5, weight_decay=1e-3),
        dict(names=["mit.", "head."], lr=4e-4, weight_decay=3e-3),
    ])
param_scheduler = [dict(type=WarmupCosineLR, by_epoch=True, convert_to_iter_based=True, end=50, warmup=5, eta_min=8e-8,
                        accumulation=4)]
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=50, val_interval=1)
val_cfg = dict(type=ValLoop)
test_cfg = dict(type=TestLoop)
val_evaluator = dict(type=ILAAccuracy)
test_evaluator = val_evaluator
custom_hooks = [dict(type=SameClassesHook), dict(type=OffsetDecay, start=0.2, decay_from=30)]
default_hooks = dict(checkpoint=dict(interval=1, save_best="top1"))
