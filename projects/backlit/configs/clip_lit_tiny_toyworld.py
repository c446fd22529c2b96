"""CLIP-LIT with the built-in tiny CLIP on the toy world: a minute or two on one CPU core.

clipapps train backlit/clip_lit_tiny_toyworld
"""

from mmengine.config import read_base

from clipapps.projects.backlit.guidance import PromptPair
from clipapps.projects.backlit.loop import BacklitTrainLoop
from clipapps.projects.backlit.schedule import CorrectedSchedule

with read_base():
    from ._base_.toyworld import *

model = dict(_model, guidance=dict(type=PromptPair, length=16))
train_cfg = dict(
    type=BacklitTrainLoop, max_iters=200, val_interval=200, guidance_batch_size=16,
    schedule=dict(type=CorrectedSchedule, initialize_iters=50, reconstruct_iters=10, enhance_iters=60, refine_iters=15,
                  enhance_extension=10, refine_extension=5, max_extensions=2, display_every=10, score_window=10,
                  reinit_grace=20))
