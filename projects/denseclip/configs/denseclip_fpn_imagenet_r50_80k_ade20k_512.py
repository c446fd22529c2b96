"""DenseCLIP on an ImageNet ResNet-50 ("any backbone"): a random attention pool, CLIP's ViT-B/16 text tower.

8 GPUs x 4 images: torchrun --nproc-per-node 8 -m clipapps train \
    denseclip/denseclip_fpn_imagenet_r50_80k_ade20k_512 --launcher pytorch
"""

from mmengine.config import read_base

from clipapps.projects.denseclip.imagenet_backbone import ImageNetBackbone
from clipapps.projects.denseclip.models import DenseCLIPSegmentor
from clipapps.projects.denseclip.preprocessing import CLIPSegPreprocessor

with read_base():
    from ._base_.ade20k import *
    from ._base_.schedule_80k import *
    from ._base_.semantic_fpn import *

model = dict(
    type=DenseCLIPSegmentor,
    data_preprocessor=dict(type=CLIPSegPreprocessor, size=(512, 512)),
    backbone=dict(
        type=ImageNetBackbone, arch="resnet50", weights="imagenet", text_arch="ViT-B-16-quickgelu",
        text_weights="openai", input_resolution=512),
    class_names="ade20k",
    prompt_mode="post",
    num_contexts=8,
    context_std=1.0,
    context_decoder=_context_decoder,
    tau=0.07,
    score_concat_index=3,
    neck=_neck,
    decode_head=_decode_head,
    identity_head=_identity_head,
    test_cfg=dict(mode="slide", crop_size=(512, 512), stride=(341, 341), windows_at_once=4))
