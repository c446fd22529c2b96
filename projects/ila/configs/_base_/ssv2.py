"""Something-Something v2 (174 classes): lists of `path label` lines, and `labels.csv` (id,name), below `data_root`.

Colors are jittered once a clip; the test looks at 4 x 3 views, always the same ones. What the released code does
instead: `JitterColors(per_frame=True)`, `ViewSampler(random=True)`.
"""

from mmengine.dataset import DefaultSampler

from clipapps.data.video.datasets import ListFileVideos
from clipapps.projects.ila.blending import MixupCutmix
from clipapps.projects.ila.preprocessing import ILAPreprocessor
from clipapps.projects.ila.sampling import SegmentSampler, ViewSampler
from clipapps.projects.ila.transforms import (
    CropCenter,
    CropMultiScale,
    CropThree,
    EraseBox,
    GrayClip,
    JitterColors,
    LoadClip,
    PackClip,
    ResizeShortSide,
)

data_root = "data/ssv2"

_preprocessor = dict(type=ILAPreprocessor, blending=dict(type=MixupCutmix, num_classes=174, smoothing=0.1))
_train_pipeline = [
    dict(type=LoadClip, sampler=dict(type=SegmentSampler, frames=8)),
    dict(type=ResizeShortSide, size=256),
    dict(type=CropMultiScale, size=224),
    dict(type=JitterColors, probability=0.8),
    dict(type=GrayClip, probability=0.2),
    dict(type=EraseBox, probability=0.25),
    dict(type=PackClip),
]
_val_pipeline = [
    dict(type=LoadClip, sampler=dict(type=SegmentSampler, frames=8, random=False)),
    dict(type=ResizeShortSide, size=256),
    dict(type=CropCenter, size=224),
    dict(type=PackClip),
]
_test_pipeline = [
    dict(type=LoadClip, sampler=dict(type=ViewSampler, frames=8, views=4)),
    dict(type=ResizeShortSide, size=224),
    dict(type=CropThree, size=224),
    dict(type=PackClip),
]
_val_set = dict(type=ListFileVideos, data_root=data_root, ann_file="val.txt", classes="labels.csv")

train_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    on_bad_sample="skip",  # some downloads of large video sets are always broken
    sampler=dict(type=DefaultSampler, shuffle=True),
    dataset=dict(type=ListFileVideos, data_root=data_root, ann_file="train.txt", classes="labels.csv",
                 pipeline=_train_pipeline))
val_dataloader = dict(
    batch_size=8,
    num_workers=8,
    persistent_workers=True,
    on_bad_sample="skip",
    sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(_val_set, pipeline=_val_pipeline))
test_dataloader = dict(
    batch_size=2,
    num_workers=8,
    on_bad_sample="skip",
    sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(_val_set, pipeline=_test_pipeline))
