"""RAVE, unpaired, as released: its padding, resize, sums, and schedule.

clipapps train backlit/rave_baid_official
"""

from mmengine.config import read_base

from clipapps.projects.backlit.guidance import ResidualDirection
from clipapps.projects.backlit.loop import BacklitTrainLoop
from clipapps.projects.backlit.schedule import OfficialSchedule

with read_base():
    from ._base_.official import *

model = dict(_model, **_released, guidance=dict(type=ResidualDirection), guidance_boost=6.0)
train_cfg = dict(
    type=BacklitTrainLoop, max_iters=20000, val_interval=5000, guidance_batch_size=16,
    schedule=dict(type=OfficialSchedule, initialize_iters=0, reconstruct_iters=1000, enhance_iters=2100,
                  refine_iters=0))
