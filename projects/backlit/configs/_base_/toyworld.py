"""Toy scenes against the light at 64 px; the same scenes well-lit are the targets of the validation only.

All methods train the network equally long, from the same rate to the same rate, and their guidance terms begin equally
strong: CLIP-LIT's at 320, and RAVE's at 320 through its own boost.
"""

from mmengine.dataset import DefaultSampler, default_collate
from mmengine.optim import CosineAnnealingLR, OptimWrapper
from mmengine.runner import TestLoop, ValLoop
from torch.optim import Adam

from clipapps.clip import CLIPBackbone
from clipapps.engine.hooks import SamplePictureHook
from clipapps.projects.backlit.datasets import ToyWorldLighting, ToyWorldLightingPairs
from clipapps.projects.backlit.metrics import BacklitQuality
from clipapps.projects.backlit.models import BacklitEnhancer
from clipapps.projects.backlit.network import EnhancementNetwork
from clipapps.projects.backlit.pictures import BacklitPainter

_model = dict(
    type=BacklitEnhancer, network=dict(type=EnhancementNetwork, start_bias=1.0),
    clip=dict(type=CLIPBackbone, arch="tiny-rn", weights="builtin"))
_round = dict(reconstruct_iters=10, enhance_iters=60, display_every=10, score_window=10, reinit_grace=20,
              max_extensions=0)  # two rounds
_learned_steps = 200  # 50 to initialize, 10, 60, 20 to refine, 60
_rave_steps = 130
_decay = dict(type=CosineAnnealingLR, by_epoch=False, eta_min_ratio=0.05)

train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type=DefaultSampler, shuffle=True),
    collate_fn=dict(type=default_collate),
    dataset=dict(type=ToyWorldLighting, num_scenes=200, size=64, split="train"))
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type=DefaultSampler, shuffle=False),
    collate_fn=dict(type=default_collate),
    dataset=dict(type=ToyWorldLightingPairs, num_scenes=32, size=64, split="val"))
test_dataloader = dict(
    batch_size=8,
    num_workers=0,
    sampler=dict(type=DefaultSampler, shuffle=False),
    collate_fn=dict(type=default_collate),
    dataset=dict(type=ToyWorldLightingPairs, num_scenes=100, size=64, split="test"))
val_evaluator = dict(type=BacklitQuality)
test_evaluator = val_evaluator
val_cfg = dict(type=ValLoop)
test_cfg = dict(type=TestLoop)
optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type=Adam, lr=5e-4, weight_decay=0.0))
find_unused_parameters = True  # a step trains the network or its guidance
custom_hooks = [dict(type=SamplePictureHook, painter=dict(type=BacklitPainter))]
