"""CLIP-LIT as the released code trains it from scratch: its padding, resize, sums, and schedule.

clipapps train backlit/clip_lit_baid_official
"""

from mmengine.config import read_base

from clipapps.projects.backlit.guidance import PromptPair
from clipapps.projects.backlit.loop import BacklitTrainLoop
from clipapps.projects.backlit.schedule import OfficialSchedule

with read_base():
    from ._base_.official import *

model = dict(_model, **_released, guidance=dict(type=PromptPair, length=16))
optim_wrapper["paramwise_cfg"] = dict(custom_keys=dict(guidance=dict(lr_mult=0.25)))
train_cfg = dict(
    type=BacklitTrainLoop, max_iters=50000, val_interval=5000, guidance_batch_size=16,
    schedule=dict(type=OfficialSchedule, initialize_iters=8000, reconstruct_iters=1000, enhance_iters=2100,
                  refine_iters=1000))
