"""What the released segmentation code does and the corrected recipes do not; read by the `*_official` configs.

Not among them: RN50 weights in the RN101 baseline (a slip of one config file), anomaly detection during training, and
the refusal of names longer than three tokens. Initialization, contexts of standard deviation 1, three decoder layers,
the auxiliary weight 0.4 and the decay of the backbone's norms are the same in the corrected recipes.
"""

from clipapps.projects.denseclip.official import OfficialBackbone

_official_model = dict(
    count_ignored_pixels=True)  # accuracies over all pixels, ignored ones included
_official_backbone = dict(
    type=OfficialBackbone,  # a ViT adds its class embedding twice
    trainable="all")  # the "frozen" text tower: its rate is 0 times the base rate ...
_official_paramwise = dict(custom_keys={
    "backbone": dict(lr_mult=0.0),  # the text tower, which lies in the backbone here
    "backbone.model.visual": dict(lr_mult=0.1),
    "pyramid": dict(lr_mult=0.1),
    "norm": dict(decay_mult=0.0),
})
_official_schedule = dict(
    lift_zero=True)  # ... which the schedule lifts to its floor, 1e-6
