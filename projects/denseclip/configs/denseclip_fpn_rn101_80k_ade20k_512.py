"""DenseCLIP, Semantic FPN, CLIP RN101, ADE20K at 512 x 512, 80k iterations (DenseCLIP, table 1: 45.1 mIoU).

8 GPUs x 4 images: torchrun --nproc-per-node 8 -m clipapps train denseclip/denseclip_fpn_rn101_80k_ade20k_512 \
    --launcher pytorch
"""

from mmengine.config import read_base

with read_base():
    from .denseclip_fpn_rn50_80k_ade20k_512 import *

model["backbone"].update(arch="RN101-quickgelu")
