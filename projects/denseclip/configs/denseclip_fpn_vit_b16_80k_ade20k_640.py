"""DenseCLIP, Semantic FPN, CLIP ViT-B/16, ADE20K at 640 x 640, 80k iterations (DenseCLIP, table 1: 50.6 mIoU).

8 GPUs x 4 images: torchrun --nproc-per-node 8 -m clipapps train \
    denseclip/denseclip_fpn_vit_b16_80k_ade20k_640 --launcher pytorch
"""

from mmengine.config import read_base

from clipapps.clip import CLIPBackbone
from clipapps.projects.denseclip.models import DenseCLIPSegmentor
from clipapps.projects.denseclip.preprocessing import CLIPSegPreprocessor
from clipapps.projects.denseclip.pyramid import ViTPyramid

with read_base():
    from ._base_.ade20k_640 import *
    from ._base_.schedule_80k import *
    from ._base_.semantic_fpn import *

model = dict(
    type=DenseCLIPSegmentor,
    data_preprocessor=dict(type=CLIPSegPreprocessor, size=(640, 640)),
    backbone=dict(
        type=CLIPBackbone, arch="ViT-B-16-quickgelu", weights="openai", out_indices=(3, 5, 7, 11),
        input_resolution=640, size_policy="floor", trainable="image", drop_path_rate=0.1),
    pyramid=dict(type=ViTPyramid, patch_size=16),
    class_names="ade20k",
    prompt_mode="post",
    num_contexts=8,
    context_std=1.0,
    context_decoder=_context_decoder,
    tau=0.07,
    score_concat_index=2,
    neck=_neck,
    decode_head=_decode_head,
    identity_head=_identity_head,
    test_cfg=dict(mode="slide", crop_size=(640, 640), stride=(426, 426), windows_at_once=4))
