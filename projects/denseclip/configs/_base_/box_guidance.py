"""The language parts of the published detectors."""

from clipapps.projects.denseclip.context_decoder import ContextDecoder
from clipapps.projects.denseclip.detection.box_guidance import BoxScoreLoss

_guidance = dict(
    prompt_mode="post",
    num_contexts=8,
    context_std=1.0,
    context_decoder=dict(type=ContextDecoder, width=256, heads=4, layers=3, dropout=0.1),
    tau=0.07,
    concat_over_tau=True,
    score_concat_index=3,
    box_score_loss=dict(type=BoxScoreLoss, weight=1.0))
