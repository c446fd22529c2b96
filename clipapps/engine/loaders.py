"""Data loaders with seeded samples and a generator of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.dist import get_dist_info
from mmengine.registry import DATA_SAMPLERS, DATASETS
from mmengine.runner import Runner
from mmengine.runner.runner import _SlicedDataset

from clipapps.engine.seeding import NumberedSampler, SeededDataset
from clipapps.engine.watched_loader import PATIENCE, WatchedLoader
from clipapps.errors import ConfigError


def build_dataloader(config: dict[str, Any], seed: int, diff_rank_seed: bool = False,
                     bad_samples: Path | None = None) -> torch.utils.data.DataLoader:
    """mmengine's data loader of a config, with samples that depend on (seed, draw number) alone.

    The loader draws its workers' base seed from its own generator, so that starting it leaves the model's random
    state alone.

    Args:
        config: a `train_dataloader` and the like; its `on_bad_sample` is "raise" (the default) or "skip", its
            `timeout` the seconds that a batch may take before its worker counts as hung (60; 0: for ever).
        seed: of the run.
        diff_rank_seed: mmengine's option: samplers draw their own seed.
        bad_samples: file that lists the samples which were skipped.
    """
    content = dict(config)
    rank, world_size = get_dist_info()
    dataset = _dataset(content, world_size)
    sampler = DATA_SAMPLERS.build(content["sampler"], default_args=dict(
        dataset=dataset, seed=None if diff_rank_seed else seed)) if isinstance(content["sampler"], dict) \
        else content["sampler"]
    policy = content.pop("on_bad_sample", "raise")
    if policy not in ("raise", "skip"):
        raise ConfigError(f"on_bad_sample is raise or skip, not {policy!r}.")
    content["dataset"] = SeededDataset(dataset, seed, bad_samples if policy == "skip" else None)
    batch_sampler = content.get("batch_sampler")
    if isinstance(batch_sampler, dict):
        batch_sampler = DATA_SAMPLERS.build(batch_sampler, default_args=dict(
            sampler=sampler, batch_size=content.pop("batch_size")))
    if batch_sampler is not None:
        content.update(sampler=sampler, batch_sampler=NumberedSampler(batch_sampler, len(dataset), rank, world_size))
    else:
        content["sampler"] = NumberedSampler(sampler, len(dataset), rank, world_size)
    workers = content.get("num_workers", 0)
    if workers:
        content.setdefault("timeout", PATIENCE)
        content["dataset"].watch(workers)
    else:
        for option in ("persistent_workers", "prefetch_factor", "timeout"):  # torch refuses them without workers
            content.pop(option, None)
    content["generator"] = torch.Generator().manual_seed(seed)
    loader = Runner.build_dataloader(content, seed=seed, diff_rank_seed=diff_rank_seed)
    return WatchedLoader.like(loader) if workers and getattr(loader, "in_order", True) else loader


def _dataset(content: dict[str, Any], world_size: int) -> Any:
    dataset = content["dataset"]
    if isinstance(dataset, dict):
        dataset = DATASETS.build(dataset)
        if hasattr(dataset, "full_init"):
            dataset.full_init()
    batches = content.pop("num_batch_per_epoch", None)
    if batches is not None:
        dataset = _SlicedDataset(dataset, batches * content["batch_size"] * world_size)
    return dataset
