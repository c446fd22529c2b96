"""The tiny model on the same films as real video files, through the reader and the steps of the published recipes.

The files (2 s, 32 frames of 128 px, about 20 KB each) are written once, into the cache folder or CLIPAPPS_CACHE; the
first start takes a minute or two longer.

clipapps train ila/ila_tiny_toyworld_videos
clipapps data check ila/ila_tiny_toyworld_videos
"""

from mmengine.config import read_base
from mmengine.dataset import DefaultSampler
from mmengine.runner import EpochBasedTrainLoop

from clipapps.projects.ila.optimization import WarmupCosineLR
from clipapps.projects.ila.sampling import SegmentSampler, ViewSampler
from clipapps.projects.ila.transforms import (
    CropCenter,
    CropThree,
    EraseBox,
    JitterColors,
    LoadClip,
    PackClip,
    ResizeShortSide,
)
from clipapps.toyworld import ToyWorldVideoFiles

with read_base():
    from ._base_.toyworld import *

# No crops and mirror images: where an object goes is what there is to learn.
_train_pipeline = [
    dict(type=LoadClip, sampler=dict(type=SegmentSampler, frames=_frames)),
    dict(type=ResizeShortSide, size=_size),
    dict(type=CropCenter, size=_size),
    dict(type=JitterColors, probability=0.3, hue=0.0),
    dict(type=EraseBox, probability=0.1),
    dict(type=PackClip),
]
_val_pipeline = [
    dict(type=LoadClip, sampler=dict(type=SegmentSampler, frames=_frames, random=False)),
    dict(type=ResizeShortSide, size=_size),
    dict(type=CropCenter, size=_size),
    dict(type=PackClip),
]
_test_pipeline = [
    dict(type=LoadClip, sampler=dict(type=ViewSampler, frames=_frames, views=4)),
    dict(type=ResizeShortSide, size=_size),
    dict(type=CropThree, size=_size),
    dict(type=PackClip),
]
_val_set = dict(type=ToyWorldVideoFiles, num_videos=280, spec=_spec, split="val")

model = dict(_ila)
train_dataloader = dict(
    train_dataloader,
    on_bad_sample="skip",
    sampler=dict(type=DefaultSampler, shuffle=True),
    dataset=dict(type=ToyWorldVideoFiles, num_videos=1120, spec=_spec, split="train", pipeline=_train_pipeline))
val_dataloader = dict(val_dataloader, dataset=dict(_val_set, pipeline=_val_pipeline))
test_dataloader = dict(val_dataloader, batch_size=4, dataset=dict(_val_set, pipeline=_test_pipeline))
# Written films are seen more than once.
train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=4, val_interval=4)
param_scheduler = [dict(type=WarmupCosineLR, by_epoch=True, convert_to_iter_based=True, end=4, warmup=1, eta_min=1e-5)]
default_hooks = dict(checkpoint=dict(interval=1, save_best="top1"))
