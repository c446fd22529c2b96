"""RAVE, unpaired: BAID's backlit photos and DIV2K, corrected (see the README).

clipapps train backlit/rave_baid
"""

from mmengine.config import read_base

from clipapps.projects.backlit.guidance import ResidualDirection
from clipapps.projects.backlit.loop import BacklitTrainLoop
from clipapps.projects.backlit.schedule import CorrectedSchedule

with read_base():
    from ._base_.official import *

model = dict(_model, guidance=dict(type=ResidualDirection), guidance_boost=6.0)
train_cfg = dict(
    type=BacklitTrainLoop, max_iters=20000, val_interval=5000, guidance_batch_size=16,
    schedule=dict(type=CorrectedSchedule, initialize_iters=0, reconstruct_iters=1000, enhance_iters=2100,
                  refine_iters=0))
