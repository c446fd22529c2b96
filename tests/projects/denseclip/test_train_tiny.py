"""The first steps of the toy-world configs with the built-in tiny CLIP: the losses that they gave when written."""

from __future__ import annotations

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from clipapps.engine.config import load_config
from clipapps.registry import MODELS, PARAM_SCHEDULERS

#: total loss of each step, seed 0, one thread, batches of 4
EXPECTED = {
    "denseclip_fpn_tiny_toyworld": [4.2931, 4.3322, 3.503, 3.3989, 2.7251, 2.7237],
    "fpn_tiny_toyworld": [2.1326, 2.1031, 1.6948, 1.8245, 1.2445, 1.2697],
}


def first_losses(config: str, steps: int) -> list[float]:
    init_default_scope("clipapps")
    cfg = load_config(f"denseclip/{config}", ["train_dataloader.batch_size=4"])
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    schedule = PARAM_SCHEDULERS.build(dict(cfg.param_scheduler[0], optimizer=wrapper, warmup_iters=2))
    batches = iter(Runner.build_dataloader(cfg.train_dataloader, seed=0))
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
