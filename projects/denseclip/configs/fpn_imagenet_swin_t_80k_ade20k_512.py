"""An ImageNet Swin-T with Semantic FPN and no language, trained as its DenseCLIP counterpart.

8 GPUs x 4 images: torchrun --nproc-per-node 8 -m clipapps train denseclip/fpn_imagenet_swin_t_80k_ade20k_512 \
    --launcher pytorch
"""

from mmengine.config import read_base

from clipapps.projects.denseclip.imagenet_backbone import ImageNetBackbone
from clipapps.projects.denseclip.models import CLIPSegmentor
from clipapps.projects.denseclip.preprocessing import CLIPSegPreprocessor

with read_base():
    from ._base_.ade20k import *
    from ._base_.schedule_80k import *
    from ._base_.semantic_fpn import *

model = dict(
    type=CLIPSegmentor,
    data_preprocessor=dict(type=CLIPSegPreprocessor, size=(512, 512)),
    backbone=dict(
        type=ImageNetBackbone, arch="swin_tiny_patch4_window7_224", weights="imagenet", with_text=False,
        with_pool=False),
    class_names="ade20k",
    neck=_neck,
    decode_head=_decode_head,
    test_cfg=dict(mode="slide", crop_size=(512, 512), stride=(341, 341), windows_at_once=4))
