"""The first steps of the toy-world detectors with the built-in tiny CLIP: the losses that they gave when written."""

from __future__ import annotations

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

from clipapps.engine.config import load_config
from clipapps.engine.loaders import build_dataloader
from clipapps.registry import MODELS, PARAM_SCHEDULERS

#: total loss of each step, seed 0, one thread, batches of 2
EXPECTED = {
    "retinanet_tiny_toyworld": [1.8742, 1.8148, 1.8272, 1.8907],
    "denseclip_retinanet_tiny_toyworld": [3.2863, 3.5085, 2.6671, 2.4638],
    "mask_rcnn_tiny_toyworld": [8.3224, 7.8121, 8.1285, 5.6013],
    "denseclip_mask_rcnn_tiny_toyworld": [9.9111, 10.0148, 8.6586, 6.4497],
}


def first_losses(config: str, steps: int) -> list[float]:
    init_default_scope("clipapps")
    cfg = load_config(f"denseclip/{config}", ["train_dataloader.batch_size=2"])
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    schedule = PARAM_SCHEDULERS.build(dict(cfg.param_scheduler[0], optimizer=wrapper, warmup_iters=2))
    batches = iter(build_dataloader(cfg.train_dataloader, seed=0))  # flips are drawn from seed and draw number
    losses = []
    model.train()
    for _ in range(steps):
        losses.append(model.train_step(next(batches), wrapper)["loss"].item())
        schedule.step()
    return losses


@pytest.mark.parametrize("config", EXPECTED)
def test_the_first_losses_are_the_recorded_ones(config):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        losses = first_losses(config, len(EXPECTED[config]))
    finally:
        torch.set_num_threads(threads)
    assert losses == pytest.approx(EXPECTED[config], abs=2e-3)
