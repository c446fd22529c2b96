"""The paper's baseline on the toy world: the same RetinaNet with the same tiny CLIP, no language guidance.

clipapps train denseclip/retinanet_tiny_toyworld
"""

from mmengine.config import read_base

with read_base():
    from ._base_.tiny_detectors import *
    from ._base_.toyworld_instances import *

model = dict(_retinanet, class_names=_class_names)
