"""RAVE on two folders of your own photos; ViT-B/32 and RN101 are downloaded once.

clipapps train backlit/rave_folder train_dataloader.dataset.backlit=DIR train_dataloader.dataset.well_lit=DIR
"""

from mmengine.config import read_base

from clipapps.projects.backlit.guidance import ResidualDirection
from clipapps.projects.backlit.loop import BacklitTrainLoop
from clipapps.projects.backlit.schedule import CorrectedSchedule

with read_base():
    from ._base_.official import *

model = dict(_model, guidance=dict(type=ResidualDirection), guidance_boost=6.0)
val_dataloader = val_evaluator = val_cfg = None  # there are no targets
test_dataloader = test_evaluator = test_cfg = None
train_dataloader["dataset"].update(backlit="photos/backlit", well_lit="photos/well_lit", size=256)
train_cfg = dict(
    type=BacklitTrainLoop, max_iters=6000, val_interval=5000, guidance_batch_size=16,
    schedule=dict(type=CorrectedSchedule, initialize_iters=0, reconstruct_iters=1000, enhance_iters=2100,
                  refine_iters=0))
