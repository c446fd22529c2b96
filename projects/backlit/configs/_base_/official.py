"""What the published runs share: OpenAI's ViT-B/32 and RN101, 512 px, batch 8, Adam 2e-5."""

from mmengine.dataset import DefaultSampler, default_collate
from mmengine.optim import OptimWrapper
from mmengine.runner import TestLoop, ValLoop
from torch.optim import Adam

from clipapps.clip import CLIPBackbone
from clipapps.engine.hooks import SamplePictureHook
from clipapps.projects.backlit.datasets import FolderPairs, LightingFolders
from clipapps.projects.backlit.metrics import BacklitQuality
from clipapps.projects.backlit.models import BacklitEnhancer
from clipapps.projects.backlit.network import EnhancementNetwork
from clipapps.projects.backlit.pictures import BacklitPainter

_vit = dict(type=CLIPBackbone, arch="ViT-B-32-quickgelu", weights="openai")
_resnet = dict(type=CLIPBackbone, arch="RN101-quickgelu", weights="openai", with_text=False, with_pool=False)
_model = dict(type=BacklitEnhancer, clip=_vit, identity_clip=_resnet,
              network=dict(type=EnhancementNetwork, start_bias=1.0))
# What the released code does: see the README, "Corrected and official".
_released = dict(network=dict(type=EnhancementNetwork), train_padding="zeros", antialias=False, clamp_gradient="none",
                 identity_reduction="sum")

train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    sampler=dict(type=DefaultSampler, shuffle=True),
    collate_fn=dict(type=default_collate),
    dataset=dict(type=LightingFolders, backlit="data/BAID/train/resize_input", well_lit="data/DIV2K",
                 size=512, zoom=(0.7, 1.3), guidance_size=256, guidance_zoom=(0.5, 1.5)))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type=DefaultSampler, shuffle=False),
    collate_fn=dict(type=default_collate),
    dataset=dict(type=FolderPairs, backlit="data/BAID/test/resize_input", well_lit="data/BAID/test/resize_gt"))
test_dataloader = val_dataloader
val_evaluator = dict(type=BacklitQuality)
test_evaluator = val_evaluator
val_cfg = dict(type=ValLoop)
test_cfg = dict(type=TestLoop)
optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type=Adam, lr=2e-5, weight_decay=1e-3))
find_unused_parameters = True  # a step trains the network or its guidance
custom_hooks = [dict(type=SamplePictureHook, painter=dict(type=BacklitPainter))]
