"""RAVE on LOL-v1: photos taken in too little light.

clipapps train backlit/rave_lol
"""

from mmengine.config import read_base

from clipapps.projects.backlit.guidance import ResidualDirection
from clipapps.projects.backlit.loop import BacklitTrainLoop
from clipapps.projects.backlit.schedule import CorrectedSchedule

with read_base():
    from ._base_.official import *

model = dict(_model, guidance=dict(type=ResidualDirection), guidance_boost=6.0)
train_dataloader["dataset"].update(backlit="data/LOL/our485/low", well_lit="data/LOL/our485/high")
val_dataloader["dataset"].update(backlit="data/LOL/eval15/low", well_lit="data/LOL/eval15/high")
train_cfg = dict(
    type=BacklitTrainLoop, max_iters=20000, val_interval=5000, guidance_batch_size=16,
    schedule=dict(type=CorrectedSchedule, initialize_iters=0, reconstruct_iters=1000, enhance_iters=2100,
                  refine_iters=0))
