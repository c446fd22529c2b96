"""The recipes: published constants, and what the official ones change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clipapps.engine.config import list_configs, load_config
from clipapps.engine.config_check import check_config
from clipapps.projects.backlit.schedule import CorrectedSchedule, OfficialSchedule

CONFIGS = [name for name in list_configs() if name.startswith("backlit/")]
PUBLISHED = [name for name in CONFIGS if "tiny" not in name and "paired_free" not in name]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_recipe_has_no_findings_and_says_how_to_start_it(name: str):
    assert check_config(load_config(name)) == ([], [])
    assert f"clipapps train {name}" in list_configs()[name].read_text()


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_constants(name: str):
    config = load_config(name)
    optimizer = config.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.weight_decay, config.train_dataloader.batch_size) == (2e-5, 1e-3, 8)
    schedule = config.train_cfg.schedule
    assert (schedule.enhance_iters, schedule.reconstruct_iters) == (2100, 1000)
    assert schedule.refine_iters == (0 if "rave" in name else 1000)
    assert config.model.get("guidance_boost", 1.0) == (6.0 if "rave" in name else 1.0)
    assert (config.model.clip.arch, config.model.identity_clip.arch) == ("ViT-B-32-quickgelu", "RN101-quickgelu")
    multiplier = config.optim_wrapper.get("paramwise_cfg", {}).get("custom_keys", {}).get("guidance", {}).get("lr_mult")
    assert multiplier == (None if "rave" in name else 25 if "latent" in name else 0.25)


@pytest.mark.parametrize("name", PUBLISHED)
def test_official_recipes_do_what_the_released_code_does(name: str):
    config, is_official = load_config(name), name.endswith("_official")
    model = config.model
    assert config.train_cfg.schedule.type is (OfficialSchedule if is_official else CorrectedSchedule)
    assert model.get("identity_reduction", "mean") == ("sum" if is_official else "mean")
    assert model.get("train_padding", "reflect") == ("zeros" if is_official else "reflect")
    assert model.get("antialias", True) is not is_official
    assert model.get("clamp_gradient", "inward") == ("none" if is_official else "inward")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clip_lit_baid_official", "clip_lit_latent_baid", "rave_baid_official"])
def test_official_towers_train_at_full_width(name: str, tmp_path: Path):
    """A step of every phase with ViT-B/32 and RN101 (random weights) on small pictures."""
    from clipapps.engine import runner

    rng = np.random.default_rng(0)
    for folder in ("backlit", "well_lit"):
        (tmp_path / folder).mkdir()
        for number in range(2):
            picture = rng.integers(0, 90 if folder == "backlit" else 255, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(picture).save(tmp_path / folder / f"{number}.png")
    sides = [f"{place}.dataset.{side}={tmp_path / side}" for place in ("train_dataloader", "val_dataloader")
             for side in ("backlit", "well_lit")]
    config = load_config(f"backlit/{name}", [
        *sides, "train_dataloader.dataset.size=64", "train_dataloader.batch_size=2", "train_dataloader.num_workers=0",
        "val_dataloader.num_workers=0", "train_cfg.guidance_batch_size=2", "train_cfg.max_iters=4",
        "train_cfg.val_interval=4", "custom_hooks=[]"])
    config.model.clip.weights = config.model.identity_clip.weights = None
    if "rave" in name:
        config.model.guidance.words = [f"word {number}" for number in range(40)]  # all 49,408 take minutes
    config.train_cfg.schedule = dict(type=CorrectedSchedule, initialize_iters=0 if "rave" in name else 1,
                                     reconstruct_iters=1, enhance_iters=1, refine_iters=0 if "rave" in name else 1)
    metrics = runner.train(config, tmp_path / "run")
    assert np.isfinite(metrics["PSNR"])
    assert (tmp_path / "run" / "iter_4.pth").is_file()
