"""No training: the mean of the frames' embeddings against the names of the classes, with the built-in tiny CLIP.

clipapps predict ila video.mp4 --classes "a red star, a blue car"    uses it when no weights are given
"""

from mmengine.config import read_base

with read_base():
    from ._base_.toyworld import *

model = dict(
    _mean_pool,
    backbone=dict(type=CLIPBackbone, arch="tiny-vit", weights="builtin", trainable="none"),
    head=dict(class_names=["moves left", "moves right", "moves up", "moves down", "turns clockwise",
                           "turns counterclockwise", "grows", "shrinks", "appears", "disappears", "passes in front",
                           "passes behind", "bounces back", "passes through"]))
