"""ADE20K at crop size 560, a multiple of patch size 14."""

from mmengine.config import read_base

with read_base():
    from .ade20k import *

_train_pipeline[2].update(scale=(2048, 560))
_train_pipeline[3].update(crop_size=(560, 560))
_val_pipeline[1].update(scale=(2048, 560))
train_dataloader.update(dataset=dict(train_dataloader["dataset"], pipeline=_train_pipeline))
val_dataloader.update(dataset=dict(val_dataloader["dataset"], pipeline=_val_pipeline))
test_dataloader = val_dataloader
for _resize, _ratio in zip(tta_pipeline[1]["transforms"][0], _tta_ratios, strict=True):
    _resize.update(scale=(int(2048 * _ratio), int(560 * _ratio)))
