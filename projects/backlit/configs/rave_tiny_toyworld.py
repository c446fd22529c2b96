"""RAVE with the built-in tiny CLIP on the toy world: about two minutes on one CPU core.

clipapps train backlit/rave_tiny_toyworld
"""

from mmengine.config import read_base

from clipapps.projects.backlit.guidance import ResidualDirection
from clipapps.projects.backlit.loop import BacklitTrainLoop
from clipapps.projects.backlit.schedule import CorrectedSchedule

with read_base():
    from ._base_.toyworld import *

# The tiny CLIP's means lie far apart (threshold 0.39), so that the paper's 6 would start at 760 instead of 320.
model = dict(
    _model, guidance_boost=2.5,
    guidance=dict(type=ResidualDirection, embed_transform="squash",
                  words=["backlit", "well-lit", "dark", "bright", "sun", "shadow", "house", "tree", "car", "boat",
                         "fish", "butterfly", "mushroom", "cup", "star", "heart", "red", "blue", "green", "large",
                         "small"]))
param_scheduler = [dict(_decay, begin=10, end=_rave_steps)]
train_cfg = dict(
    type=BacklitTrainLoop, max_iters=_rave_steps, val_interval=_rave_steps,
    schedule=dict(type=CorrectedSchedule, initialize_iters=0, refine_iters=0, **_round))
