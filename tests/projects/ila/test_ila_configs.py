"""Every config: it passes the strict check, has the shapes of its table, and takes a training step at full width."""

from __future__ import annotations

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

from clipapps.engine.config import list_configs, load_config
from clipapps.projects.ila.complexity import count_parameters, measure
from clipapps.projects.ila.convert import build_empty
from clipapps.registry import MODELS

CONFIGS = [name for name in list_configs() if name.startswith("ila/")]
#: millions of parameters (CLIP's image tower, alignment with its skips, integration, prompts, text, optimized) and
#: billions of multiply-accumulates of one view: ours, and those counted on the released code
TABLE = {
    "ila_vit_b32_8f_k400": (87.8, 40.5, 3.2, 6.7, 63.4, 43.6, 49.5, 52.3),
    "ila_vit_b32_16f_k400": (87.8, 40.5, 3.2, 6.7, 63.4, 43.6, 97.6, 103.1),
    "ila_vit_b16_8f_k400": (86.2, 40.5, 3.2, 6.7, 63.4, 43.6, 190.7, 201.8),
    "ila_vit_b16_16f_k400": (86.2, 40.5, 3.2, 6.7, 63.4, 43.6, 381.9, 404.2),
    "ila_vit_l14_8f_k400": (304.0, 118.1, 7.1, 15.0, 123.7, 125.2, 830.9, 882.4),
    "ila_vit_l14_16f_k400_336": (304.3, 118.1, 7.1, 15.0, 123.7, 125.2, 3878.1, 4109.8),
    "ila_vit_b16_8f_ssv2": (86.2, 78.0, 3.25, 0, 0, 81.2, 239.1, 250.2),
    "ila_vit_b16_16f_ssv2": (86.2, 78.0, 3.25, 0, 0, 81.2, 488.7, 510.9),
    "ila_vit_b16_32f_ssv2": (86.2, 78.0, 3.26, 0, 0, 81.2, 987.9, 1032.3),
    "ila_vit_l14_8f_ssv2": (304.0, 218.2, 7.2, 0, 0, 225.4, 1003.3, None),
    "ila_vit_l14_16f_ssv2_336": (304.3, 218.2, 7.2, 0, 0, 225.4, 4730.0, None),
}
QUICK = ("ila_vit_b32_8f_k400", "ila_vit_b16_8f_ssv2")
FRAMES = {name: int(name.split("_")[3].removesuffix("f")) for name in TABLE}


def test_every_published_row_is_there():
    assert {f"ila/{name}" for name in TABLE} <= set(CONFIGS)
    assert {"ila/ila_tiny_toyworld", "ila/mit_tiny_toyworld", "ila/mean_pool_tiny_toyworld"} <= set(CONFIGS)


@pytest.mark.parametrize("name", CONFIGS)
def test_it_says_how_to_launch_it(name):
    text = list_configs()[name].read_text()
    assert "clipapps" in text.split('"""')[1] and len(text.splitlines()) <= 100
    load_config(name)


@pytest.mark.parametrize("name", TABLE)
def test_parameters_sizes_and_frames_are_those_of_the_table(name):
    cfg = load_config(f"ila/{name}")
    model = build_empty(cfg)
    counts = [value / 1e6 for value in count_parameters(model).values()]
    assert counts == pytest.approx(TABLE[name][:6], abs=0.06)
    size, test = min(model.backbone.native_size), cfg.test_dataloader.dataset.pipeline
    assert model.num_frames == FRAMES[name] == test[0].sampler.frames == cfg.train_dataloader.dataset.pipeline[
        0].sampler.frames == cfg.val_dataloader.dataset.pipeline[0].sampler.frames
    assert size == (336 if name.endswith("336") else 224) == test[1]["size"] == test[2]["size"]
    assert cfg.train_dataloader.batch_size * cfg.optim_wrapper.accumulative_counts * 8 == 256
    assert cfg.optim_wrapper.accumulative_counts == cfg.param_scheduler[0].accumulation
    assert test[0].sampler.views == 4
    assert cfg.train_dataloader.dataset.pipeline[2]["size"] == size


@pytest.mark.parametrize("name", ["ila_vit_b32_8f_k400", "ila_vit_b16_8f_ssv2"])
def test_the_layout_is_that_of_the_released_checkpoints(name):
    model = build_empty(load_config(f"ila/{name}"))
    if name.endswith("ssv2"):
        assert len(model.state_dict()) == 697 and len(list(model.parameters())) == 553
    assert model.inserts[11].message_attn.prediction_block[12].weight.shape == (4, 32, 1)


@pytest.mark.parametrize("name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
                                  for name in TABLE])
def test_one_view_costs_what_the_table_says_and_less_than_the_released_code(name):
    macs = measure(build_empty(load_config(f"ila/{name}"))).macs
    assert macs["total"] / 1e9 == pytest.approx(TABLE[name][6], rel=2e-3)
    assert macs["total"] == pytest.approx(sum(value for part, value in macs.items() if part != "total"))
    assert TABLE[name][7] is None or macs["total"] / 1e9 < 0.97 * TABLE[name][7]


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLE)
def test_it_builds_at_full_width_and_takes_a_step(name):
    init_default_scope("clipapps")
    cfg = load_config(f"ila/{name}", ["model.backbone.weights=None"])
    model = MODELS.build(cfg.model).train()
    wrapper = build_optim_wrapper(model, {**cfg.optim_wrapper, "accumulative_counts": 1})
    before = model.inserts[0].message_fc.weight.detach().clone()
    inputs = torch.randint(0, 256, (1, 2, 3, *model.backbone.native_size), dtype=torch.uint8)
    losses = model.train_step(dict(inputs=inputs, label=[3]), wrapper)
    assert torch.isfinite(losses["loss"]) and not torch.equal(model.inserts[0].message_fc.weight, before)
