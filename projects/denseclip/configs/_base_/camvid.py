"""CamVid (11 classes, 480 x 360): 256 px crops for training, whole pictures for evaluation."""

from mmcv.transforms import RandomFlip, RandomResize, Resize, TestTimeAug
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.runner import TestLoop, ValLoop

from clipapps.data import LoadImage, LoadSegmentation
from clipapps.engine.hooks import SamplePictureHook
from clipapps.projects.denseclip.datasets import CamVidFolder
from clipapps.projects.denseclip.hooks import SameClassesHook
from clipapps.projects.denseclip.metrics import SegmentationIoU
from clipapps.projects.denseclip.mmseg_parts import PackSegInputs, PhotoMetricDistortion, RandomCrop
from clipapps.projects.denseclip.views import AveragedViews
from clipapps.visualization.segmentation import SegmentationPainter

data_root = "data/camvid_small"
_class_names = ["sky", "building", "pole", "road", "sidewalk", "tree", "sign symbol", "fence", "car", "pedestrian",
                "bicyclist"]

train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type=InfiniteSampler, shuffle=True),
    dataset=dict(
        type=CamVidFolder,
        data_root=data_root,
        data_prefix=dict(img_path="images/train", seg_map_path="annotations/train"),
        pipeline=[
            dict(type=LoadImage),
            dict(type=LoadSegmentation),
            dict(type=RandomResize, scale=(480, 360), ratio_range=(0.75, 1.5), keep_ratio=True),
            dict(type=RandomCrop, crop_size=(256, 256), cat_max_ratio=0.75),
            dict(type=RandomFlip, prob=0.5),
            dict(type=PhotoMetricDistortion),
            dict(type=PackSegInputs),
        ]))
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(
        type=CamVidFolder,
        data_root=data_root,
        data_prefix=dict(img_path="images/val", seg_map_path="annotations/val"),
        test_mode=True,
        pipeline=[dict(type=LoadImage), dict(type=LoadSegmentation), dict(type=PackSegInputs)]))
test_dataloader = val_dataloader
val_evaluator = dict(type=SegmentationIoU)
test_evaluator = val_evaluator
custom_hooks = [
    dict(type=SameClassesHook),
    dict(type=SamplePictureHook, painter=dict(type=SegmentationPainter)),
]
val_cfg = dict(type=ValLoop)
test_cfg = dict(type=TestLoop)

# `clipapps test --tta`
tta_model = dict(type=AveragedViews)
tta_pipeline = [
    dict(type=LoadImage),
    dict(type=TestTimeAug, transforms=[
        [dict(type=Resize, scale=(int(480 * ratio), int(360 * ratio)), keep_ratio=True) for ratio in (0.75, 1.0, 1.5)],
        [dict(type=RandomFlip, prob=0.0), dict(type=RandomFlip, prob=1.0)],
        [dict(type=LoadSegmentation)],
        [dict(type=PackSegInputs)],
    ]),
]
