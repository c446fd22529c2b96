"""A control for `denseclip_fpn_tiny_toyworld`: the baseline with an auxiliary loss that knows no language.

clipapps train denseclip/fpn_tiny_toyworld_auxiliary
"""

from mmengine.config import read_base

from clipapps.projects.denseclip.mmseg_parts import CrossEntropyLoss, FCNHead

with read_base():
    from .fpn_tiny_toyworld import *

model.update(auxiliary_head=dict(
    type=FCNHead, in_channels=32, in_index=3, channels=32, num_convs=0, concat_input=False,
    num_classes=len(_class_names), dropout_ratio=0.0, init_cfg=None,
    loss_decode=dict(type=CrossEntropyLoss, loss_weight=0.4)))
