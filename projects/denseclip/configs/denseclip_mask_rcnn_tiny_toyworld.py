"""DenseCLIP's Mask R-CNN with the built-in tiny CLIP on the toy world: minutes of training on one CPU core.

clipapps train denseclip/denseclip_mask_rcnn_tiny_toyworld
"""

from mmengine.config import read_base

from clipapps.projects.denseclip.detection.models import DenseCLIPMaskRCNN

with read_base():
    from ._base_.tiny_detectors import *
    from ._base_.toyworld_instances import *

model = dict({**_mask_rcnn, **_guidance}, type=DenseCLIPMaskRCNN, class_names=_class_names)

train_dataloader["dataset"]["pipeline"][0].update(with_masks=True)
val_evaluator.update(kinds=("box", "mask"))
test_evaluator = val_evaluator
