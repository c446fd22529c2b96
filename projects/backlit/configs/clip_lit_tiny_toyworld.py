"""CLIP-LIT with the built-in tiny CLIP on the toy world: about three minutes on one CPU core.

clipapps train backlit/clip_lit_tiny_toyworld
"""

from mmengine.config import read_base

from clipapps.projects.backlit.guidance import PromptPair
from clipapps.projects.backlit.loop import BacklitTrainLoop
from clipapps.projects.backlit.schedule import CorrectedSchedule

with read_base():
    from ._base_.toyworld import *

model = dict(_model, guidance=dict(type=PromptPair, length=16))
optim_wrapper["paramwise_cfg"] = dict(custom_keys=dict(guidance=dict(lr_mult=0.6)))
param_scheduler = [dict(_decay, begin=60, end=_learned_steps)]
train_cfg = dict(
    type=BacklitTrainLoop, max_iters=_learned_steps, val_interval=_learned_steps, guidance_batch_size=16,
    schedule=dict(type=CorrectedSchedule, initialize_iters=50, refine_iters=20, **_round))
