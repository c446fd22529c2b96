"""RAVE with the built-in tiny CLIP on the toy world: about a minute on one CPU core.

clipapps train backlit/rave_tiny_toyworld
"""

from mmengine.config import read_base

from clipapps.projects.backlit.guidance import ResidualDirection
from clipapps.projects.backlit.loop import BacklitTrainLoop
from clipapps.projects.backlit.schedule import CorrectedSchedule

with read_base():
    from ._base_.toyworld import *

model = dict(
    _model, guidance_boost=6.0,
    guidance=dict(type=ResidualDirection, embed_transform="squash",
                  words=["backlit", "well-lit", "dark", "bright", "sun", "shadow", "house", "tree", "car", "boat",
                         "fish", "butterfly", "mushroom", "cup", "star", "heart", "red", "blue", "green", "large",
                         "small"]))
train_cfg = dict(
    type=BacklitTrainLoop, max_iters=80, val_interval=80,
    schedule=dict(type=CorrectedSchedule, initialize_iters=0, reconstruct_iters=10, enhance_iters=70, refine_iters=0,
                  enhance_extension=10, max_extensions=2, display_every=10, score_window=10, reinit_grace=20))
