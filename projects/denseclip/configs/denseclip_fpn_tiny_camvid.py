"""DenseCLIP with the built-in tiny CLIP on a small part of CamVid: real road scenes, minutes on two CPU cores.

clipapps train denseclip/denseclip_fpn_tiny_camvid data_root=path/to/camvid_small
"""

from mmengine.config import read_base
from mmengine.runner import IterBasedTrainLoop

from clipapps.projects.denseclip.schedules import WarmupPolyLR

with read_base():
    from ._base_.camvid import *
    from ._base_.tiny_models import *

model = dict(_denseclip, class_names=_class_names, concat_over_tau=True)  # as in denseclip_fpn_tiny_toyworld
model["data_preprocessor"].update(size=(256, 256))
model["neck"].update(out_channels=64)
model["decode_head"].update(in_channels=[64, 64, 64, 64], channels=64)
train_cfg = dict(type=IterBasedTrainLoop, max_iters=200, val_interval=200)
optim_wrapper["optimizer"].update(lr=1e-3)
param_scheduler = [dict(type=WarmupPolyLR, end=200, power=0.9, eta_min=1e-6, warmup_iters=20, warmup_ratio=1e-3)]
