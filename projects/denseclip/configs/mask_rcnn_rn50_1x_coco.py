"""The paper's baseline: Mask R-CNN, no language, CLIP RN50, COCO, 12 epochs (section 4.2: 39.3 box AP, 36.8 mask AP).

8 GPUs x 2 images: torchrun --nproc-per-node 8 -m clipapps train denseclip/mask_rcnn_rn50_1x_coco \
    --launcher pytorch
"""

from mmengine.config import read_base

from clipapps.clip import CLIPBackbone
from clipapps.projects.denseclip.detection.models import CLIPMaskRCNN
from clipapps.projects.denseclip.detection.preprocessing import CLIPDetPreprocessor

with read_base():
    from ._base_.coco_instances import *
    from ._base_.mask_rcnn import *
    from ._base_.schedule_12e import *

model = dict(
    type=CLIPMaskRCNN,
    data_preprocessor=dict(type=CLIPDetPreprocessor, pad_size_divisor=32),
    backbone=dict(
        type=CLIPBackbone, arch="RN50-quickgelu", weights="openai", out_indices=(0, 1, 2, 3), size_policy="floor",
        with_text=False, with_pool=False),
    class_names="coco",
    neck=_neck,
    rpn_head=_rpn_head,
    roi_head=_roi_head)

optim_wrapper["optimizer"].update(lr=2e-4)
