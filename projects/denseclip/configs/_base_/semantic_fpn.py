"""Semantic FPN and the language parts at their published widths."""


from clipapps.projects.denseclip.context_decoder import ContextDecoder
from clipapps.projects.denseclip.mmseg_parts import FPN, CrossEntropyLoss, FPNHead
from clipapps.projects.denseclip.models import IdentityHead

# init_cfg=None as in the released training: mmseg's own initialization (Xavier, and normal 0.01 for the classifier) was
# never run there, and it learns far more slowly.
_neck = dict(type=FPN, out_channels=256, num_outs=4, init_cfg=None)
_decode_head = dict(
    type=FPNHead,
    in_channels=[256, 256, 256, 256],
    in_index=[0, 1, 2, 3],
    feature_strides=[4, 8, 16, 32],
    channels=256,
    dropout_ratio=0.1,
    norm_cfg=dict(type="BN", requires_grad=True),
    align_corners=False,
    init_cfg=None,
    loss_decode=dict(type=CrossEntropyLoss, loss_weight=1.0))
_context_decoder = dict(type=ContextDecoder, width=256, heads=4, layers=3, dropout=0.1)
_identity_head = dict(type=IdentityHead, loss_decode=dict(type=CrossEntropyLoss, loss_weight=0.4))
