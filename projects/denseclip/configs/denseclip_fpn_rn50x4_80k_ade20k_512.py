"""DenseCLIP with CLIP RN50x4 (40 attention heads, 640-wide joint space); no published figure.

8 GPUs x 4 images: torchrun --nproc-per-node 8 -m clipapps train \
    denseclip/denseclip_fpn_rn50x4_80k_ade20k_512 --launcher pytorch
"""

from mmengine.config import read_base

with read_base():
    from .denseclip_fpn_rn50_80k_ade20k_512 import *

model["backbone"].update(arch="RN50x4-quickgelu")
