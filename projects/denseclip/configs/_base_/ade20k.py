"""ADE20K (150 classes) at crop size 512, in the official folder layout."""

from mmcv.transforms import RandomFlip, RandomResize, Resize, TestTimeAug
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.runner import TestLoop, ValLoop

from clipapps.data import LoadImage, LoadSegmentation
from clipapps.engine.hooks import SamplePictureHook
from clipapps.projects.denseclip.datasets import ADE20KFolder
from clipapps.projects.denseclip.hooks import SameClassesHook
from clipapps.projects.denseclip.metrics import SegmentationIoU
from clipapps.projects.denseclip.mmseg_parts import PackSegInputs, PhotoMetricDistortion, RandomCrop
from clipapps.projects.denseclip.views import AveragedViews
from clipapps.visualization.segmentation import SegmentationPainter

data_root = "data/ade/ADEChallengeData2016"

_train_pipeline = [
    dict(type=LoadImage),
    dict(type=LoadSegmentation),
    dict(type=RandomResize, scale=(2048, 512), ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type=RandomCrop, crop_size=(512, 512), cat_max_ratio=0.75),
    dict(type=RandomFlip, prob=0.5),
    dict(type=PhotoMetricDistortion),
    dict(type=PackSegInputs),
]
_val_pipeline = [
    dict(type=LoadImage),
    dict(type=Resize, scale=(2048, 512), keep_ratio=True),
    dict(type=LoadSegmentation),  # after Resize: scores are computed at the original size
    dict(type=PackSegInputs),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type=InfiniteSampler, shuffle=True),
    dataset=dict(
        type=ADE20KFolder,
        data_root=data_root,
        data_prefix=dict(img_path="images/training", seg_map_path="annotations/training"),
        pipeline=_train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(
        type=ADE20KFolder,
        data_root=data_root,
        data_prefix=dict(img_path="images/validation", seg_map_path="annotations/validation"),
        test_mode=True,
        pipeline=_val_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type=SegmentationIoU)
test_evaluator = val_evaluator
custom_hooks = [
    dict(type=SameClassesHook),
    dict(type=SamplePictureHook, painter=dict(type=SegmentationPainter)),
]
val_cfg = dict(type=ValLoop)
test_cfg = dict(type=TestLoop)

# `clipapps test --tta`: six scales, each with its mirror image, as the published multi-scale figures
_tta_ratios = [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]
tta_model = dict(type=AveragedViews)
tta_pipeline = [
    dict(type=LoadImage),
    dict(type=TestTimeAug, transforms=[
        [dict(type=Resize, scale=(int(2048 * ratio), int(512 * ratio)), keep_ratio=True) for ratio in _tta_ratios],
        [dict(type=RandomFlip, prob=0.0), dict(type=RandomFlip, prob=1.0)],
        [dict(type=LoadSegmentation)],
        [dict(type=PackSegInputs)],
    ]),
]
