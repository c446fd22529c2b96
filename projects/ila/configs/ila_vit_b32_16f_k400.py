"""ILA, CLIP ViT-B/32, Kinetics-400, 16 frames at 224 x 224, 50 epochs (published top-1 82.4, 4 x 3 views).

8 GPUs x 8 clips x 4 batches a step: torchrun --nproc-per-node 8 -m clipapps train ila/ila_vit_b32_16f_k400 \
    --launcher pytorch --amp
"""

from mmengine.config import read_base

from clipapps.clip import CLIPBackbone

with read_base():
    from ._base_.kinetics400 import *
    from ._base_.models import *
    from ._base_.recipe import *

model = dict(
    _k400,
    num_frames=16,
    backbone=dict(type=CLIPBackbone, arch="ViT-B-32-quickgelu", weights="openai", trainable="none"),
    data_preprocessor=_preprocessor)
for _pipeline in (_train_pipeline, _val_pipeline, _test_pipeline):
    _pipeline[0]["sampler"].update(frames=16)
train_dataloader["dataset"].update(pipeline=_train_pipeline)
val_dataloader["dataset"].update(pipeline=_val_pipeline)
test_dataloader["dataset"].update(pipeline=_test_pipeline)
