"""The paper's baseline: CLIP RN101 with Semantic FPN and no language, ADE20K at 512 x 512 (table 1: 42.7 mIoU).

8 GPUs x 4 images: torchrun --nproc-per-node 8 -m clipapps train denseclip/fpn_rn101_80k_ade20k_512 --launcher pytorch
"""

from mmengine.config import read_base

with read_base():
    from .fpn_rn50_80k_ade20k_512 import *

model["backbone"].update(arch="RN101-quickgelu")
