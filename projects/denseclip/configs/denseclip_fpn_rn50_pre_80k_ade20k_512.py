"""DenseCLIP with pre-model prompting: contexts computed from each image (DenseCLIP, section 3.3; about 42.9 mIoU).

8 GPUs x 4 images: torchrun --nproc-per-node 8 -m clipapps train \
    denseclip/denseclip_fpn_rn50_pre_80k_ade20k_512 --launcher pytorch
"""

from mmengine.config import read_base

with read_base():
    from .denseclip_fpn_rn50_80k_ade20k_512 import *

model["prompt_mode"] = "pre"
model["backbone"].update(grad_checkpoint=True)  # the text tower runs on every image and class
