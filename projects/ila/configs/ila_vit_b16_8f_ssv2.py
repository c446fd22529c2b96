"""ILA, CLIP ViT-B/16, Something-Something v2, 8 frames at 224 x 224, 50 epochs (published top-1 65.0, 4 x 3 views).

8 GPUs x 8 clips x 4 batches a step: torchrun --nproc-per-node 8 -m clipapps train ila/ila_vit_b16_8f_ssv2 \
    --launcher pytorch --amp
"""

from mmengine.config import read_base

from clipapps.clip import CLIPBackbone

with read_base():
    from ._base_.models import *
    from ._base_.recipe import *
    from ._base_.ssv2 import *

model = dict(
    _ssv2,
    num_frames=8,
    backbone=dict(type=CLIPBackbone, arch="ViT-B-16-quickgelu", weights="openai", trainable="none",
                  with_text=False),
    data_preprocessor=_preprocessor)
