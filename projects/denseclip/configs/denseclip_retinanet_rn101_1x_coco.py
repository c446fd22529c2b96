"""DenseCLIP's RetinaNet, CLIP RN101, COCO, 12 epochs (DenseCLIP, section 4.2: 41.1 box AP).

8 GPUs x 2 images: torchrun --nproc-per-node 8 -m clipapps train denseclip/denseclip_retinanet_rn101_1x_coco \
    --launcher pytorch
"""

from mmengine.config import read_base

from clipapps.clip import CLIPBackbone
from clipapps.projects.denseclip.detection.models import DenseCLIPRetinaNet
from clipapps.projects.denseclip.detection.preprocessing import CLIPDetPreprocessor

with read_base():
    from ._base_.box_guidance import *
    from ._base_.coco_boxes import *
    from ._base_.retinanet import *
    from ._base_.schedule_12e import *

model = dict(
    type=DenseCLIPRetinaNet,
    data_preprocessor=dict(type=CLIPDetPreprocessor, pad_size_divisor=32),
    backbone=dict(
        type=CLIPBackbone, arch="RN101-quickgelu", weights="openai", out_indices=(0, 1, 2, 3),
        input_resolution=1344, position_mode="crop", size_policy="floor", trainable="image"),
    class_names="coco",
    neck=_neck,
    bbox_head=_bbox_head,
    **_guidance)
