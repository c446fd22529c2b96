"""RetinaNet at its published width."""

from clipapps.projects.denseclip.detection.anchors import AnchorGenerator
from clipapps.projects.denseclip.detection.matching import MaxIoUAssigner
from clipapps.projects.denseclip.detection.retina_head import RetinaHead
from clipapps.projects.denseclip.detection.suppression import BoxSelection
from clipapps.projects.denseclip.mmseg_parts import FPN

# The sixth level comes from the backbone's last one, score maps included.
_neck = dict(type=FPN, out_channels=256, start_level=1, add_extra_convs="on_input", num_outs=5, init_cfg=None)
_bbox_head = dict(
    type=RetinaHead,
    feat_channels=256,
    stacked_convs=4,
    anchors=dict(type=AnchorGenerator, strides=[8, 16, 32, 64, 128], ratios=[0.5, 1.0, 2.0], octave_base_scale=4,
                 scales_per_octave=3),
    assigner=dict(type=MaxIoUAssigner, pos_iou=0.5, neg_iou=0.4, min_pos_iou=0.0),
    gamma=2.0,
    alpha=0.25,
    selection=dict(type=BoxSelection, nms_pre=1000, score_threshold=0.05, nms_iou=0.5, max_per_image=100))
