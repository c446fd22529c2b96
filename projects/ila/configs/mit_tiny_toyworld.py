"""The baseline without alignment: frames meet only in the integration transformer, on the same frozen tiny CLIP.

clipapps train ila/mit_tiny_toyworld
"""

from mmengine.config import read_base

with read_base():
    from ._base_.toyworld import *

model = dict(_mit)
