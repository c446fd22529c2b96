"""The toy world at 128 px: ten kinds of objects on drawn backgrounds, label 0 is background."""

from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.runner import TestLoop, ValLoop

from clipapps.engine.hooks import SamplePictureHook
from clipapps.projects.denseclip.hooks import SameClassesHook
from clipapps.projects.denseclip.metrics import SegmentationIoU
from clipapps.projects.denseclip.mmseg_parts import PackSegInputs
from clipapps.toyworld import ToyWorldSegmentation
from clipapps.visualization.segmentation import SegmentationPainter

_class_names = ["background", "house", "tree", "car", "boat", "fish", "butterfly", "mushroom", "cup", "star", "heart"]
_pipeline = [dict(type=PackSegInputs)]

train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type=InfiniteSampler, shuffle=True),
    dataset=dict(type=ToyWorldSegmentation, num_scenes=2000, size=128, split="train", pipeline=_pipeline))
val_dataloader = dict(
    batch_size=16,
    num_workers=0,
    sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(type=ToyWorldSegmentation, num_scenes=200, size=128, split="val", pipeline=_pipeline, test_mode=True))
test_dataloader = val_dataloader
val_evaluator = dict(type=SegmentationIoU, background=0)
test_evaluator = val_evaluator
custom_hooks = [
    dict(type=SameClassesHook),
    dict(type=SamplePictureHook, painter=dict(type=SegmentationPainter)),
]
val_cfg = dict(type=ValLoop)
test_cfg = dict(type=TestLoop)
