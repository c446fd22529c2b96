"""Training-free dense CLIP (MaskCLIP) with CLIP ViT-B/16 on the validation set of ADE20K.

clipapps test denseclip/maskclip_vit_b16_ade20k_512 data_root=path/to/ADEChallengeData2016
"""

from mmengine.config import read_base

with read_base():
    from .maskclip_rn50_ade20k_512 import *

model["backbone"].update(arch="ViT-B-16-quickgelu")
