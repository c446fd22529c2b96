"""The two published variants, without their towers."""

from clipapps.projects.ila.models import ILAClassifier

_alignment = dict(channels=256, disturbance=0.2)
_k400 = dict(
    type=ILAClassifier,
    num_frames=8,
    alignment=dict(_alignment, variant="k400"),
    integration=dict(layers=1),
    # The released code draws the prompts at random and never trains them; `train_prompts=True` does, and then they need
    # a group of their own in optim_wrapper.groups (ten times the base rate in X-CLIP).
    head=dict(class_names="kinetics400", prompts=dict(layers=2, alpha=0.1)),
    label_smoothing=0.1)
_ssv2 = dict(
    type=ILAClassifier,
    num_frames=8,
    alignment=dict(_alignment, variant="ssv2"),
    integration=dict(layers=1),
    head=dict(num_classes=174, dropout=0.5),
    label_smoothing=0.1)
