"""DenseCLIP trained without the names and labels of three categories, tested on all eleven classes.

clipapps train denseclip/denseclip_fpn_tiny_toyworld_heldout

Generalized zero-shot segmentation as the field does it: pixels of held-out categories are ignored in training, and
every class competes at test time; reported are mIoU of seen, of unseen, and their harmonic mean. Score maps say where
unseen categories are, the decoder divides the rest; `model.vocabulary_source=scores` leaves all to the score maps.
"""

from mmengine.config import read_base
from mmengine.runner import IterBasedTrainLoop

from clipapps.projects.denseclip.datasets import ToyWorldSubset
from clipapps.projects.denseclip.schedules import WarmupPolyLR

with read_base():
    from ._base_.tiny_models import *
    from ._base_.toyworld import *

_held_out = ["car", "butterfly", "star"]
_seen = ["background", "house", "tree", "boat", "fish", "mushroom", "cup", "heart"]

model = dict(_denseclip, class_names=_seen, vocabulary=_class_names, vocabulary_source="scores+decoder")
train_dataloader["dataset"].update(type=ToyWorldSubset, classes=_seen)
val_evaluator.update(held_out=_held_out)
test_evaluator.update(held_out=_held_out)
train_cfg = dict(type=IterBasedTrainLoop, max_iters=240, val_interval=240)
optim_wrapper["optimizer"].update(lr=2e-3)
param_scheduler = [dict(type=WarmupPolyLR, end=240, power=0.9, eta_min=1e-6, warmup_iters=20, warmup_ratio=1e-3)]
