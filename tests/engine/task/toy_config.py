"""Forty steps of the toy task."""

from engine_toy_task import ToyData, ToyMetric, ToyModel
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.optim import OptimWrapper
from mmengine.optim.scheduler import PolyLR
from torch.optim import AdamW

model = dict(type=ToyModel, width=8)
train_dataloader = dict(batch_size=4, num_workers=0, dataset=dict(type=ToyData, size=32),
                        sampler=dict(type=InfiniteSampler, shuffle=True))
val_dataloader = dict(batch_size=4, num_workers=0, dataset=dict(type=ToyData, size=8),
                      sampler=dict(type=DefaultSampler, shuffle=False))
test_dataloader = val_dataloader
train_cfg = dict(by_epoch=False, max_iters=40, val_interval=20)
val_cfg = dict()
test_cfg = dict()
val_evaluator = dict(type=ToyMetric)
test_evaluator = val_evaluator
optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type=AdamW, lr=0.01))
param_scheduler = [dict(type=PolyLR, power=0.9, by_epoch=False, begin=0, end=40)]
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(interval=10, max_keep=2), curves=None)  # curves cost 1 s
