"""The paper's baseline: RetinaNet without language, CLIP RN50, COCO, 12 epochs (DenseCLIP, section 4.2: 36.9 box AP).

8 GPUs x 2 images: torchrun --nproc-per-node 8 -m clipapps train denseclip/retinanet_rn50_1x_coco \
    --launcher pytorch
"""

from mmengine.config import read_base

from clipapps.clip import CLIPBackbone
from clipapps.projects.denseclip.detection.models import CLIPRetinaNet
from clipapps.projects.denseclip.detection.preprocessing import CLIPDetPreprocessor

with read_base():
    from ._base_.coco_boxes import *
    from ._base_.retinanet import *
    from ._base_.schedule_12e import *

model = dict(
    type=CLIPRetinaNet,
    data_preprocessor=dict(type=CLIPDetPreprocessor, pad_size_divisor=32),
    backbone=dict(
        type=CLIPBackbone, arch="RN50-quickgelu", weights="openai", out_indices=(0, 1, 2, 3), size_policy="floor",
        with_text=False, with_pool=False),
    class_names="coco",
    neck=_neck,
    bbox_head=_bbox_head)
