"""The recipes: published constants, and what the official ones change."""

from __future__ import annotations

import pytest

from clipapps.engine.config import list_configs, load_config
from clipapps.engine.config_check import check_config
from clipapps.projects.backlit.schedule import CorrectedSchedule, OfficialSchedule

CONFIGS = [name for name in list_configs() if name.startswith("backlit/")]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_recipe_has_no_findings_and_says_how_to_start_it(name: str):
    assert check_config(load_config(name)) == ([], [])
    assert f"clipapps train {name}" in list_configs()[name].read_text()


@pytest.mark.parametrize("name", [name for name in CONFIGS if "tiny" not in name])
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


@pytest.mark.parametrize("name", [name for name in CONFIGS if "tiny" not in name])
def test_official_recipes_do_what_the_released_code_does(name: str):
    config, is_official = load_config(name), name.endswith("_official")
    model = config.model
    assert config.train_cfg.schedule.type is (OfficialSchedule if is_official else CorrectedSchedule)
    assert model.get("identity_reduction", "mean") == ("sum" if is_official else "mean")
    assert model.get("train_padding", "reflect") == ("zeros" if is_official else "reflect")
    assert model.get("antialias", True) is not is_official
