"""Linear probe for the category of toy-world objects on the built-in tiny CLIP: seconds on a CPU.

clipapps train example/linear_probe_tiny_toyworld
"""

from mmengine.dataset import DefaultSampler, InfiniteSampler, default_collate
from mmengine.optim import OptimWrapper
from mmengine.runner import IterBasedTrainLoop, ValLoop
from torch.optim import AdamW

from clipapps.clip import CLIPBackbone
from clipapps.toyworld import ToyWorldScenes
from clipapps_example.probe import ExampleAccuracy, ExampleLinearProbe

_spec = dict(min_objects=1, max_objects=1)

model = dict(
    type=ExampleLinearProbe,
    backbone=dict(type=CLIPBackbone, arch="tiny-rn", weights="builtin", trainable="none", with_text=False),
    attribute="category",
    num_classes=10)

train_dataloader = dict(
    batch_size=64,
    sampler=dict(type=InfiniteSampler, shuffle=True),
    collate_fn=dict(type=default_collate),
    dataset=dict(type=ToyWorldScenes, num_scenes=2000, size=64, split="train", spec=_spec))
val_dataloader = dict(
    batch_size=64,
    sampler=dict(type=DefaultSampler, shuffle=False),
    collate_fn=dict(type=default_collate),
    dataset=dict(type=ToyWorldScenes, num_scenes=500, size=64, split="val", spec=_spec))
val_evaluator = dict(type=ExampleAccuracy)
train_cfg = dict(type=IterBasedTrainLoop, max_iters=60, val_interval=60)
val_cfg = dict(type=ValLoop)
optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type=AdamW, lr=1e-2))
