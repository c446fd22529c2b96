"""The toy world at 128 px with boxes and masks: ten kinds of objects, one to four in a scene."""

from mmengine.dataset import DefaultSampler, InfiniteSampler, pseudo_collate
from mmengine.runner import TestLoop, ValLoop

from clipapps.engine.hooks import SamplePictureHook
from clipapps.projects.denseclip.detection.metrics import CocoAveragePrecision
from clipapps.projects.denseclip.detection.transforms import FlipInstances, LoadInstances, PackDetection
from clipapps.projects.denseclip.hooks import SameClassesHook
from clipapps.toyworld import ToyWorldInstances
from clipapps.visualization.instances import InstancePainter

_class_names = ["house", "tree", "car", "boat", "fish", "butterfly", "mushroom", "cup", "star", "heart"]

train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type=InfiniteSampler, shuffle=True),
    collate_fn=dict(type=pseudo_collate),
    dataset=dict(
        type=ToyWorldInstances, num_scenes=2000, size=128, split="train",
        pipeline=[
            dict(type=LoadInstances, with_masks=False),
            dict(type=FlipInstances, prob=0.5),
            dict(type=PackDetection),
        ]))
val_dataloader = dict(
    batch_size=16,
    num_workers=0,
    sampler=dict(type=DefaultSampler, shuffle=False),
    collate_fn=dict(type=pseudo_collate),
    dataset=dict(
        type=ToyWorldInstances, num_scenes=200, size=128, split="val", test_mode=True,
        pipeline=[dict(type=PackDetection, keep_annotations=True)]))
test_dataloader = val_dataloader
val_evaluator = dict(type=CocoAveragePrecision)
test_evaluator = val_evaluator
custom_hooks = [
    dict(type=SameClassesHook),
    dict(type=SamplePictureHook, painter=dict(type=InstancePainter)),
]
val_cfg = dict(type=ValLoop)
test_cfg = dict(type=TestLoop)
