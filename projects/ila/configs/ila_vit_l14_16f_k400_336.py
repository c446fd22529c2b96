"""ILA, CLIP ViT-L/14, Kinetics-400, 16 frames at 336 x 336, 50 epochs (published top-1 88.7, 4 x 3 views).

8 GPUs x 8 clips x 4 batches a step: torchrun --nproc-per-node 8 -m clipapps train ila/ila_vit_l14_16f_k400_336 \
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
    backbone=dict(type=CLIPBackbone, arch="ViT-L-14-336-quickgelu", weights="openai", trainable="none"),
    data_preprocessor=_preprocessor)
for _pipeline in (_train_pipeline, _val_pipeline, _test_pipeline):
    _pipeline[0]["sampler"].update(frames=16)
_train_pipeline[1].update(size=384)
_train_pipeline[2].update(size=336)
_val_pipeline[1].update(size=384)
_val_pipeline[2].update(size=336)
_test_pipeline[1].update(size=336)
_test_pipeline[2].update(size=336)
train_dataloader["dataset"].update(pipeline=_train_pipeline)
val_dataloader["dataset"].update(pipeline=_val_pipeline)
test_dataloader["dataset"].update(pipeline=_test_pipeline)
