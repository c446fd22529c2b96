"""Loaders give the same samples whatever starts their workers."""

from __future__ import annotations

import pytest
import torch

from clipapps.engine.loaders import build_dataloader
from clipapps.errors import ConfigError


def batches(**options):
    loader = build_dataloader(dict(
        batch_size=4, dataset=dict(type="engine_toy_task.ToyData", size=16, augment=True),
        sampler=dict(type="DefaultSampler", shuffle=True), **options), seed=3)
    return [torch.stack(batch["inputs"]) for batch in loader]


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_started_workers_draw_what_the_process_itself_draws(start):
    """A spawned worker gets data set and sampler by pickling, and none of the parent's random state."""
    alone = batches(num_workers=0)
    assert len(alone) == 4 and not torch.equal(alone[0], alone[1])
    together = batches(num_workers=1, multiprocessing_context=start)
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.slow
def test_a_training_run_with_spawned_workers_ends_in_the_same_bits(tmp_path, train_toy):
    common = ("train_cfg.max_iters=10", "train_cfg.val_interval=10", "train_dataloader.dataset.augment=True",
              "default_hooks.checkpoint.interval=10")
    train_toy(tmp_path / "alone", *common)
    train_toy(tmp_path / "spawned", *common, "train_dataloader.num_workers=1",
              "train_dataloader.multiprocessing_context=spawn")
    one, other = (torch.load(tmp_path / name / "iter_10.pth", weights_only=True)["state_dict"]
                  for name in ("alone", "spawned"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_an_unknown_policy_is_refused():
    with pytest.raises(ConfigError, match="raise or skip, not 'ignore'"):
        batches(on_bad_sample="ignore")
