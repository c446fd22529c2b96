"""DenseCLIP with the built-in tiny CLIP ViT on the toy world: minutes of training on two CPU cores.

clipapps train denseclip/denseclip_fpn_tiny_vit_toyworld
"""

from mmengine.config import read_base

from clipapps.projects.denseclip.pyramid import ViTPyramid

with read_base():
    from .denseclip_fpn_tiny_toyworld import *

# "projected": this ViT learned its dense map from the ResNet's value path, so its own last tokens are local already
model["backbone"].update(arch="tiny-vit", dense="projected")
model.update(pyramid=dict(type=ViTPyramid, patch_size=8), score_concat_index=1)  # the level of stride 8
