"""`denseclip_fpn_rn50_80k_ade20k_512` as the released code trains it, its slips included (table 1: 43.5 mIoU).

8 GPUs x 4 images: torchrun --nproc-per-node 8 -m clipapps train \
    denseclip/denseclip_fpn_rn50_80k_ade20k_512_official --launcher pytorch
"""

from mmengine.config import read_base

with read_base():
    from ._base_.official import *
    from .denseclip_fpn_rn50_80k_ade20k_512 import *

model.update(_official_model)
model["backbone"].update(_official_backbone)
optim_wrapper.update(paramwise_cfg=_official_paramwise)
param_scheduler[0].update(_official_schedule)
