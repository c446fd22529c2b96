"""Data."""

from mmengine.dataset import DefaultSampler

from clipapps.toyworld import ToyWorldScenes

data_root = "data"
train_dataloader = dict(batch_size=8, num_workers=4, sampler=dict(type=DefaultSampler, shuffle=True), dataset=dict(type=ToyWorldScenes, num_scenes=8))
val_dataloader = train_dataloader
test_dataloader = train_dataloader
