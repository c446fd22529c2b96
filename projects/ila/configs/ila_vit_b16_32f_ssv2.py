"""ILA, CLIP ViT-B/16, Something-Something v2, 32 frames at 224 x 224, 50 epochs (no published figure).

8 GPUs x 4 clips x 8 batches a step: torchrun --nproc-per-node 8 -m clipapps train ila/ila_vit_b16_32f_ssv2 \
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
    num_frames=32,
    backbone=dict(type=CLIPBackbone, arch="ViT-B-16-quickgelu", weights="openai", trainable="none",
                  with_text=False),
    data_preprocessor=_preprocessor)
for _pipeline in (_train_pipeline, _val_pipeline, _test_pipeline):
    _pipeline[0]["sampler"].update(frames=32)
train_dataloader["dataset"].update(pipeline=_train_pipeline)
val_dataloader["dataset"].update(pipeline=_val_pipeline)
test_dataloader["dataset"].update(pipeline=_test_pipeline)
train_dataloader["batch_size"] = 4
optim_wrapper["accumulative_counts"] = 8
param_scheduler[0].update(accumulation=8)
