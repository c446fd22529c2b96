"""Implicit learnable alignment in the built-in tiny CLIP on moving toy scenes: ten minutes of one core.

clipapps train ila/ila_tiny_toyworld
"""

from mmengine.config import read_base

with read_base():
    from ._base_.toyworld import *

model = dict(_ila)
