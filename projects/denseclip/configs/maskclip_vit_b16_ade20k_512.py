"""Training-free dense CLIP (MaskCLIP) with CLIP ViT-B/16 on the validation set of ADE20K.

clipapps test denseclip/maskclip_vit_b16_ade20k_512 data_root=path/to/ADEChallengeData2016
"""

from mmengine.config import read_base

from clipapps.clip import CLIPBackbone
from clipapps.projects.denseclip.maskclip import MaskCLIPSegmentor
from clipapps.projects.denseclip.preprocessing import CLIPSegPreprocessor

with read_base():
    from ._base_.ade20k import *

train_dataloader = None
model = dict(
    type=MaskCLIPSegmentor,
    data_preprocessor=dict(type=CLIPSegPreprocessor, size=(512, 512)),
    backbone=dict(type=CLIPBackbone, arch="ViT-B-16-quickgelu", weights="openai", dense="value", size_policy="floor",
                  trainable="none"),
    class_names="ade20k",
    templates=[  # the seven that CLIP's authors recommend when all eighty are too many
        "itap of a {}.", "a bad photo of the {}.", "a origami {}.", "a photo of the large {}.", "a {} in a video game.",
        "art of the {}.", "a photo of the small {}."],
    test_cfg=dict(mode="slide", crop_size=(512, 512), stride=(341, 341), windows_at_once=4))
