"""COCO 2017 with boxes and masks at 1333 x 800, in the official folder layout."""

from mmengine.dataset import DefaultSampler, pseudo_collate
from mmengine.runner import TestLoop, ValLoop

from clipapps.data import LoadImage
from clipapps.engine.hooks import SamplePictureHook
from clipapps.projects.denseclip.detection.coco import CocoDetection
from clipapps.projects.denseclip.detection.metrics import CocoAveragePrecision
from clipapps.projects.denseclip.detection.transforms import (
    FlipInstances,
    LoadInstances,
    PackDetection,
    ResizeInstances,
)
from clipapps.projects.denseclip.hooks import SameClassesHook
from clipapps.visualization.instances import InstancePainter

data_root = "data/coco"

train_dataloader = dict(
    batch_size=2,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type=DefaultSampler, shuffle=True),
    collate_fn=dict(type=pseudo_collate),
    dataset=dict(
        type=CocoDetection,
        data_root=data_root,
        ann_file="annotations/instances_train2017.json",
        data_prefix=dict(img_path="train2017"),
        pipeline=[
            dict(type=LoadImage),
            dict(type=LoadInstances, with_masks=True),
            dict(type=ResizeInstances, scale=(1333, 800), keep_ratio=True),
            dict(type=FlipInstances, prob=0.5),
            dict(type=PackDetection),
        ]))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type=DefaultSampler, shuffle=False),
    collate_fn=dict(type=pseudo_collate),
    dataset=dict(
        type=CocoDetection,
        data_root=data_root,
        ann_file="annotations/instances_val2017.json",
        data_prefix=dict(img_path="val2017"),
        test_mode=True,
        pipeline=[
            dict(type=LoadImage),
            dict(type=ResizeInstances, scale=(1333, 800), keep_ratio=True),
            dict(type=PackDetection, keep_annotations=True),
        ]))
test_dataloader = val_dataloader
val_evaluator = dict(type=CocoAveragePrecision, kinds=("box", "mask"))
test_evaluator = val_evaluator
custom_hooks = [
    dict(type=SameClassesHook),
    dict(type=SamplePictureHook, painter=dict(type=InstancePainter)),
]
val_cfg = dict(type=ValLoop)
test_cfg = dict(type=TestLoop)
