"""Training-free dense CLIP (MaskCLIP) with the built-in tiny CLIP on the toy world: needs no training, takes seconds.

clipapps test denseclip/maskclip_tiny_toyworld
"""

from mmengine.config import read_base

from clipapps.clip import CLIPBackbone
from clipapps.projects.denseclip.maskclip import MaskCLIPSegmentor
from clipapps.projects.denseclip.preprocessing import CLIPSegPreprocessor

with read_base():
    from ._base_.toyworld import *

train_dataloader = None
model = dict(
    type=MaskCLIPSegmentor,
    data_preprocessor=dict(type=CLIPSegPreprocessor, size=(128, 128)),
    backbone=dict(type=CLIPBackbone, arch="tiny-rn", weights="builtin", dense="value", size_policy="floor",
                  trainable="none"),
    class_names=_class_names,
    wordings=dict(background=[
        "meadow", "grass", "field", "beach", "sandy beach", "sea", "ocean", "water", "desert", "sand dunes", "snow",
        "snowy landscape", "mountains", "mountain landscape", "night sky", "starry night", "brick wall", "wall",
        "plain background", "empty background"]),
    templates=["{}", "a {}", "a photo of a {}"],
    test_cfg=dict(mode="whole"))
