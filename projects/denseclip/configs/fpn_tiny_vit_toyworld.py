"""The baseline of `denseclip_fpn_tiny_vit_toyworld`: the same tiny ViT, data and steps, no language guidance.

clipapps train denseclip/fpn_tiny_vit_toyworld
"""

from mmengine.config import read_base

from clipapps.projects.denseclip.pyramid import ViTPyramid

with read_base():
    from .fpn_tiny_toyworld import *

model["backbone"].update(arch="tiny-vit")
model.update(pyramid=dict(type=ViTPyramid, patch_size=8))
