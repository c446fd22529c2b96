"""DenseCLIP's RetinaNet with the built-in tiny CLIP on the toy world: minutes of training on one CPU core.

clipapps train denseclip/denseclip_retinanet_tiny_toyworld
"""

from mmengine.config import read_base

from clipapps.projects.denseclip.detection.models import DenseCLIPRetinaNet

with read_base():
    from ._base_.tiny_detectors import *
    from ._base_.toyworld_instances import *

model = dict({**_retinanet, **_guidance}, type=DenseCLIPRetinaNet, class_names=_class_names)
