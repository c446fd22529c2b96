"""DenseCLIP with pre-model prompting: contexts computed from each image (DenseCLIP, section 3.3; about 42.9 mIoU).

8 GPUs x 4 images: torchrun --nproc-per-node 8 -m clipapps train \
    denseclip/denseclip_fpn_rn50_pre_80k_ade20k_512 --launcher pytorch
"""

from mmengine.config import read_base

from clipapps.clip import CLIPBackbone
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
        type=CLIPBackbone, arch="RN50-quickgelu", weights="openai", out_indices=(0, 1, 2, 3), input_resolution=512,
        size_policy="floor", trainable="image", grad_checkpoint=True),
    class_names="ade20k",
    prompt_mode="pre",  # the text tower runs on every image and class: grad_checkpoint above keeps that within memory
    num_contexts=8,
    context_std=1.0,
    context_decoder=_context_decoder,
    tau=0.07,
    score_concat_index=3,
    neck=_neck,
    decode_head=_decode_head,
    identity_head=_identity_head,
    test_cfg=dict(mode="slide", crop_size=(512, 512), stride=(341, 341), windows_at_once=4))
