"""DenseCLIP's Mask R-CNN, CLIP RN101, COCO, 12 epochs (DenseCLIP, section 4.2: 42.6 box AP, 39.6 mask AP).

8 GPUs x 2 images: torchrun --nproc-per-node 8 -m clipapps train denseclip/denseclip_mask_rcnn_rn101_1x_coco \
    --launcher pytorch
"""

from mmengine.config import read_base

from clipapps.clip import CLIPBackbone
from clipapps.projects.denseclip.detection.models import DenseCLIPMaskRCNN
from clipapps.projects.denseclip.detection.preprocessing import CLIPDetPreprocessor

with read_base():
    from ._base_.box_guidance import *
    from ._base_.coco_instances import *
    from ._base_.mask_rcnn import *
    from ._base_.schedule_12e import *

model = dict(
    type=DenseCLIPMaskRCNN,
    data_preprocessor=dict(type=CLIPDetPreprocessor, pad_size_divisor=32),
    backbone=dict(
        type=CLIPBackbone, arch="RN101-quickgelu", weights="openai", out_indices=(0, 1, 2, 3),
        input_resolution=1344, position_mode="crop", size_policy="floor", trainable="image"),
    class_names="coco",
    neck=_neck,
    rpn_head=_rpn_head,
    roi_head=_roi_head,
    **_guidance)

optim_wrapper["optimizer"].update(lr=2e-4)
