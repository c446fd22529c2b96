"""Training-free dense CLIP (MaskCLIP) with the built-in tiny CLIP on CamVid: a lower bound, it never saw a road.

clipapps test denseclip/maskclip_tiny_camvid data_root=path/to/camvid_small
clipapps test denseclip/maskclip_tiny_camvid data_root=path/to/camvid_small \
    model.backbone.arch=ViT-B-16-quickgelu model.backbone.weights=openai
"""

from mmengine.config import read_base

from clipapps.clip import CLIPBackbone
from clipapps.projects.denseclip.maskclip import MaskCLIPSegmentor
from clipapps.projects.denseclip.preprocessing import CLIPSegPreprocessor

with read_base():
    from ._base_.camvid import *

train_dataloader = None
model = dict(
    type=MaskCLIPSegmentor,
    data_preprocessor=dict(type=CLIPSegPreprocessor, size=(256, 256)),
    backbone=dict(type=CLIPBackbone, arch="tiny-rn", weights="builtin", dense="value", size_policy="floor",
                  trainable="none"),
    class_names=_class_names,
    wordings={"pedestrian": ["pedestrian", "person"], "bicyclist": ["bicyclist", "bicycle"],
              "sign symbol": ["traffic sign", "traffic light"], "pole": ["pole", "street lamp"]},
    templates=["{}", "a {}", "a photo of a {}"],
    test_cfg=dict(mode="whole"))
