"""The baseline that knows no order: a linear probe on the mean of the frames' embeddings, the same frozen tiny CLIP.

clipapps train ila/mean_pool_tiny_toyworld
"""

from mmengine.config import read_base

with read_base():
    from ._base_.toyworld import *

model = dict(_mean_pool)
