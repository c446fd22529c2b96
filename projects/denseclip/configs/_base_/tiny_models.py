"""The tiny CLIP ResNet under Semantic FPN: DenseCLIP and its baseline, 32 channels wide; minutes on two CPU cores."""

from mmengine.optim import OptimWrapper
from torch.optim import AdamW

from clipapps.clip import CLIPBackbone
from clipapps.projects.denseclip.context_decoder import ContextDecoder
from clipapps.projects.denseclip.mmseg_parts import FPN, CrossEntropyLoss, FPNHead
from clipapps.projects.denseclip.models import CLIPSegmentor, DenseCLIPSegmentor, IdentityHead
from clipapps.projects.denseclip.preprocessing import CLIPSegPreprocessor

_fpn = dict(
    type=CLIPSegmentor,
    data_preprocessor=dict(type=CLIPSegPreprocessor, size=(128, 128)),
    backbone=dict(type=CLIPBackbone, arch="tiny-rn", weights="builtin", out_indices=(0, 1, 2, 3), size_policy="floor",
                  with_text=False, with_pool=False),
    neck=dict(type=FPN, out_channels=32, num_outs=4, init_cfg=None),
    decode_head=dict(
        type=FPNHead, in_channels=[32, 32, 32, 32], in_index=[0, 1, 2, 3], feature_strides=[4, 8, 16, 32], channels=32,
        dropout_ratio=0.1, norm_cfg=dict(type="BN"), init_cfg=None,
        loss_decode=dict(type=CrossEntropyLoss, loss_weight=1.0)),
    test_cfg=dict(mode="whole"))
_denseclip = dict(
    _fpn,
    type=DenseCLIPSegmentor,
    # The tiny CLIP's attention pool, asked at every position, answers with the picture as a whole: its score maps are
    # no better than "all background". Its value path knows where things are (maskclip_tiny_toyworld).
    backbone=dict(type=CLIPBackbone, arch="tiny-rn", weights="builtin", out_indices=(0, 1, 2, 3), dense="value",
                  size_policy="floor", trainable="image"),
    prompt_mode="post",
    num_contexts=8,
    context_std=0.02,
    context_decoder=dict(type=ContextDecoder, width=64, heads=4, layers=3, dropout=0.1),
    tau=0.07,
    score_concat_index=3,
    identity_head=dict(type=IdentityHead, loss_decode=dict(type=CrossEntropyLoss, loss_weight=0.4)))
optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=AdamW, lr=2e-3, weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.1), "norm": dict(decay_mult=0.0)}))
