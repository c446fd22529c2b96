"""The shipped weights: pairs made of free photos by synthetic backlighting (ours; neither CLIP-LIT nor RAVE).

clipapps train backlit/paired_free_photos train_dataloader.dataset.folders="['data/free_photos']"

Without folders it trains on the photos inside installed packages and on toy scenes, which is enough to try it. The
validation shows photos that are never trained on.
"""

from mmengine.dataset import DefaultSampler, default_collate
from mmengine.optim import CosineAnnealingLR, LinearLR
from mmengine.runner import IterBasedTrainLoop, TestLoop, ValLoop
from torch.optim import Adam

from clipapps.engine.hooks import SamplePictureHook
from clipapps.engine.precision import MixedPrecisionOptimWrapper
from clipapps.projects.backlit.metrics import BacklitQuality
from clipapps.projects.backlit.network import EnhancementNetwork
from clipapps.projects.backlit.paired import BacklitPairedEnhancer, SyntheticPairs, SyntheticTestPairs
from clipapps.projects.backlit.pictures import BacklitPainter

_batch, _iterations = 4, 1200

model = dict(type=BacklitPairedEnhancer, network=dict(type=EnhancementNetwork, start_bias=1.0), map_weight=0.3)
train_dataloader = dict(
    batch_size=_batch,
    num_workers=0,
    sampler=dict(type=DefaultSampler, shuffle=False),  # every index is another draw
    collate_fn=dict(type=default_collate),
    dataset=dict(type=SyntheticPairs, num_samples=_batch * _iterations, size=96, folders=[], toyworld=0.1))
train_cfg = dict(type=IterBasedTrainLoop, max_iters=_iterations, val_interval=300)
optim_wrapper = dict(type=MixedPrecisionOptimWrapper, dtype="bfloat16", optimizer=dict(type=Adam, lr=1e-3),
                     clip_grad=dict(max_norm=1.0))
param_scheduler = [
    dict(type=LinearLR, start_factor=0.1, by_epoch=False, end=50),
    dict(type=CosineAnnealingLR, eta_min=1e-5, by_epoch=False, begin=50, end=_iterations),
]
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type=DefaultSampler, shuffle=False),
    collate_fn=dict(type=default_collate),
    dataset=dict(type=SyntheticTestPairs, draws=4, longest_side=256))
test_dataloader = val_dataloader
val_evaluator = dict(type=BacklitQuality)
test_evaluator = val_evaluator
val_cfg = dict(type=ValLoop)
test_cfg = dict(type=TestLoop)
custom_hooks = [dict(type=SamplePictureHook, painter=dict(type=BacklitPainter))]
