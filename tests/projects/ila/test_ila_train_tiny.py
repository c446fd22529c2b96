"""Short trainings: a run through the command's own way, a resume in the decay, and what only order can tell."""

from __future__ import annotations

import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.runner import EpochBasedTrainLoop

from clipapps.engine import runner
from clipapps.engine.config import load_config
from clipapps.projects.ila.hooks import OffsetDecay
from clipapps.projects.ila.models import ILAClassifier
from clipapps.projects.ila.optimization import WarmupCosineLR
from clipapps.toyworld import ToyWorldVideos

SMALL = ["model.backbone.weights=None", "train_dataloader.dataset.num_videos=8", "train_dataloader.dataset.size=32",
         "train_dataloader.batch_size=4", "val_dataloader.dataset.num_videos=4", "val_dataloader.dataset.size=32",
         "model.alignment.channels=16"]


def test_a_training_goes_on_where_it_stopped_with_the_offset_of_its_epoch(tmp_path, monkeypatch):
    def config(epochs):
        cfg = load_config("ila/ila_tiny_toyworld", SMALL)
        cfg.train_cfg = dict(type=EpochBasedTrainLoop, max_epochs=epochs)
        cfg.train_dataloader.sampler = dict(type=DefaultSampler, shuffle=True)
        cfg.param_scheduler = [dict(type=WarmupCosineLR, by_epoch=True, convert_to_iter_based=True, end=3)]
        cfg.custom_hooks = [dict(type=OffsetDecay, decay_from=1)]
        return cfg

    offsets = []
    original = ILAClassifier.set_disturbance
    monkeypatch.setattr(ILAClassifier, "set_disturbance",
                        lambda self, offset: (offsets.append(offset), original(self, offset))[1])
    metrics = runner.train(config(2), tmp_path / "run")
    again = runner.train(config(3), tmp_path / "run", resume=True)
    assert 0 <= metrics["top1"] <= metrics["top5"] <= 1 and again["iterations"] == 6
    assert offsets == [0.2, 0.1, pytest.approx(0.05)]


def test_it_learns_directions_that_no_frame_tells(small_model):
    data = ToyWorldVideos(num_videos=8, frames=3, size=32, classes=("moves left", "moves right"))
    clips = torch.stack([data[index]["inputs"] for index in range(8)])
    labels = torch.tensor([data[index]["label"] for index in range(8)])
    model = small_model(head=dict(num_classes=2, dropout=0.0)).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    inputs = model.data_preprocessor.normalize(clips)
    losses = []
    for _ in range(25):
        found = model(inputs, mode="loss", label=labels)
        optimizer.zero_grad()
        model.parse_losses(found)[0].backward()
        optimizer.step()
        losses.append(found["loss_classes"].item())
    assert losses[-1] < 0.3 < losses[0]
