"""Parameters and multiply-accumulates of the six published segmentors (table 6.1 of the specification)."""

from __future__ import annotations

import pytest
import torch

from clipapps.engine.config import load_config
from clipapps.projects.denseclip.complexity import count_parameters, measure
from clipapps.registry import MODELS

#: config -> backbone, context decoder, neck, head, contexts and gamma, total; GMACs at 1024 x 1024
TABLE = {
    "fpn_rn50_80k_ade20k_512": (23_527_264, 0, 3_344_384, 4_170_902, 0, 31_042_550, 248.83),
    "denseclip_fpn_rn50_80k_ade20k_512": (38_740_832, 3_948_800, 3_382_784, 4_170_902, 5_120, 50_248_438, 269.83),
    "fpn_rn101_80k_ade20k_512": (42_519_392, 0, 3_344_384, 4_170_902, 0, 50_034_678, 326.62),
    "denseclip_fpn_rn101_80k_ade20k_512": (56_683_872, 3_553_024, 3_382_784, 4_170_902, 4_608, 67_795_190, 346.29),
    "fpn_vit_b16_80k_ade20k_640": (93_964_032, 0, 3_147_776, 4_170_902, 0, 101_282_710, 863.46),
    "denseclip_fpn_vit_b16_80k_ade20k_640": (94_358_784, 3_553_024, 3_186_176, 4_170_902, 4_608, 105_273_494, 869.16),
}
PARTS = ("backbone", "context decoder", "neck", "head", "contexts and gamma", "total")


def build(config: str, device: str):
    from mmengine.registry import init_default_scope

    init_default_scope("clipapps")
    cfg = load_config(f"denseclip/{config}", ["model.backbone.weights=None", "model.backbone.drop_path_rate=0."])
    with torch.device(device):
        return MODELS.build(cfg.model)


@pytest.mark.parametrize("config", TABLE)
def test_parameters_equal_the_table(config):
    counts = count_parameters(build(config, "meta"))
    assert tuple(counts.get(part, 0) for part in PARTS) == TABLE[config][:-1]


@pytest.mark.slow
@pytest.mark.parametrize("config", TABLE)
def test_macs_equal_the_table_within_a_thousandth(config):
    macs = measure(build(config, "cpu")).macs
    assert macs["total"] / 1e9 == pytest.approx(TABLE[config][-1], rel=1e-3)
    assert macs["total"] == pytest.approx(sum(value for part, value in macs.items() if part != "total"))
