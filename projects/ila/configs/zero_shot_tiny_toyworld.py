"""No training: the mean of the frames' embeddings against the names of the classes, with the built-in tiny CLIP.

clipapps predict ila video.mp4 --classes "a red star, a blue car"    uses it, with these names
"""

from mmengine.config import read_base

with read_base():
    from ._base_.toyworld import *

model = dict(
    _mean_pool,
    num_frames=8,
    backbone=dict(type=CLIPBackbone, arch="tiny-vit", weights="builtin", trainable="none"),
    head=dict(class_names=["moves left", "moves right", "moves up", "moves down", "turns clockwise",
                           "turns counterclockwise", "grows", "shrinks", "appears", "disappears", "passes in front",
                           "passes behind", "bounces back", "passes through"]))
# What is in a film shows better in larger frames, and in all kinds of scenes.
val_dataloader = dict(
    val_dataloader,
    dataset=dict(type=ToyWorldVideos, num_videos=280, frames=8, size=64, split="val"))
test_dataloader = val_dataloader
