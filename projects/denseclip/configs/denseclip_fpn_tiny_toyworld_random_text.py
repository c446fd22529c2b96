"""A control for `denseclip_fpn_tiny_toyworld`: random directions in place of the class names' embeddings.

clipapps train denseclip/denseclip_fpn_tiny_toyworld_random_text
"""

from mmengine.config import read_base

from clipapps.projects.denseclip.controls import RandomTextSegmentor

with read_base():
    from .denseclip_fpn_tiny_toyworld import *

model.update(type=RandomTextSegmentor)
