"""DenseCLIP on an ImageNet Swin-T ("any backbone"): a random attention pool, CLIP's ViT-B/16 text tower.

8 GPUs x 4 images: torchrun --nproc-per-node 8 -m clipapps train \
    denseclip/denseclip_fpn_imagenet_swin_t_80k_ade20k_512 --launcher pytorch
"""

from mmengine.config import read_base

with read_base():
    from .denseclip_fpn_imagenet_r50_80k_ade20k_512 import *

model["backbone"].update(arch="swin_tiny_patch4_window7_224")
