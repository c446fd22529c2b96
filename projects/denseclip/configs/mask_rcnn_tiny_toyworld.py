"""The paper's baseline on the toy world: the same Mask R-CNN with the same tiny CLIP, no language guidance.

clipapps train denseclip/mask_rcnn_tiny_toyworld
"""

from mmengine.config import read_base

with read_base():
    from ._base_.tiny_detectors import *
    from ._base_.toyworld_instances import *

model = dict(_mask_rcnn, class_names=_class_names)

train_dataloader["dataset"]["pipeline"][0].update(with_masks=True)
val_evaluator.update(kinds=("box", "mask"))
test_evaluator = val_evaluator
