"""COCO 2017 with boxes alone: no time goes into masks."""

from mmengine.config import read_base

with read_base():
    from .coco_instances import *

train_dataloader["dataset"]["pipeline"][1].update(with_masks=False)
val_evaluator.update(kinds=("box",))
test_evaluator = val_evaluator
