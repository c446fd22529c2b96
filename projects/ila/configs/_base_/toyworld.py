"""Moving scenes of the toy world: 14 motions that no single frame tells apart, 4 frames of 48 px.

Four frames and small pictures, so that an object moves by a patch or so from frame to frame, and so that a film costs
little: what is learned depends on the number of films above all.
"""

from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.optim import OptimWrapper
from mmengine.runner import IterBasedTrainLoop, TestLoop, ValLoop
from torch.optim import AdamW

from clipapps.clip import CLIPBackbone
from clipapps.projects.ila.hooks import SameClassesHook
from clipapps.projects.ila.metrics import ILAAccuracy
from clipapps.projects.ila.models import ILAClassifier
from clipapps.projects.ila.optimization import ILAParameterGroups, WarmupCosineLR
from clipapps.projects.ila.preprocessing import ILAPreprocessor
from clipapps.toyworld import ToyWorldVideos

_steps, _batch, _frames, _size = 300, 16, 4, 48  # no film is seen twice
_spec = dict(backgrounds=("plain",), textures=("plain",), backlit=0.0, dark=0.0)
_films = dict(frames=_frames, size=_size, spec=_spec)
_ila = dict(
    type=ILAClassifier,
    num_frames=_frames,
    backbone=dict(type=CLIPBackbone, arch="tiny-vit", weights="builtin", trainable="none", with_text=False),
    alignment=dict(channels=64, variant="k400"),
    integration=dict(layers=1),
    head=dict(num_classes=14, dropout=0.0),
    data_preprocessor=dict(type=ILAPreprocessor, mean=None, std=None))  # the tiny CLIP's own statistics
_mit = dict(_ila, alignment=None)
_mean_pool = dict(_ila, alignment=None, integration=None)

train_dataloader = dict(
    batch_size=_batch,
    num_workers=0,
    sampler=dict(type=InfiniteSampler, shuffle=True),
    dataset=dict(type=ToyWorldVideos, num_videos=_batch * _steps, split="train", **_films))
val_dataloader = dict(
    batch_size=16,
    num_workers=0,
    sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(type=ToyWorldVideos, num_videos=560, split="val", **_films))
test_dataloader = val_dataloader
optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=AdamW, lr=1e-3, betas=(0.9, 0.98)),
    clip_grad=dict(max_norm=1.0),  # else the inserts throw the tower off its track, and all is lost
    constructor=ILAParameterGroups,
    groups=[
        # drawn fifty times smaller than the tiny CLIP's embeddings: time is invisible until they have grown
        dict(names=["mit.positional_embedding"], lr=1e-2, weight_decay=0.0),
        dict(names=["message_", "temporal_", "mit.", "head."], lr=1e-3, weight_decay=1e-2),
    ])
param_scheduler = [dict(type=WarmupCosineLR, end=_steps, warmup=20, eta_min=1e-5)]
train_cfg = dict(type=IterBasedTrainLoop, max_iters=_steps, val_interval=_steps)
val_cfg = dict(type=ValLoop)
test_cfg = dict(type=TestLoop)
val_evaluator = dict(type=ILAAccuracy)
test_evaluator = val_evaluator
custom_hooks = [dict(type=SameClassesHook)]
default_hooks = dict(checkpoint=dict(interval=_steps, save_best="top1"))
