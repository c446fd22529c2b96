"""DenseCLIP with OpenCLIP's ViT-B/16 of LAION-2B; no published figure.

8 GPUs x 4 images: torchrun --nproc-per-node 8 -m clipapps train \
    denseclip/denseclip_fpn_vit_b16_laion2b_80k_ade20k_640 --launcher pytorch
"""

from mmengine.config import read_base

with read_base():
    from .denseclip_fpn_vit_b16_80k_ade20k_640 import *

model["backbone"].update(arch="ViT-B-16", weights="laion2b_s34b_b88k")
