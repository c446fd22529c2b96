"""The ViT pyramid: strides, odd sizes, parameter names, the patch-8 variant."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from clipapps.errors import ConfigError
from clipapps.projects.denseclip.pyramid import ViTPyramid


@pytest.mark.parametrize("patch_size, sizes", [(16, [(20, 16), (10, 8), (5, 4), (2, 2)]),
                                               (14, [(20, 16), (10, 8), (5, 4), (2, 2)]),
                                               (8, [(10, 8), (5, 4), (2, 2), (1, 1)])])
def test_strides_and_floors(patch_size, sizes):
    maps = ViTPyramid(8, patch_size)([torch.rand(2, 8, 5, 4)] * 4)
    assert [tuple(level.shape[2:]) for level in maps] == sizes


def test_parameter_names_are_the_published_ones():
    names = {name.rpartition(".")[0] for name, _ in ViTPyramid(8).named_parameters()}
    assert names == {"fpn1.0", "fpn1.1", "fpn1.2", "fpn1.4", "fpn2.0", "fpn2.1", "fpn3", "fpn4.0"}


def test_norm_comes_from_the_config():
    assert isinstance(ViTPyramid(8, norm_cfg=dict(type="SyncBN")).fpn1[2], nn.SyncBatchNorm)
    assert isinstance(ViTPyramid(8).fpn1[2], nn.BatchNorm2d)


def test_another_patch_size_is_refused():
    with pytest.raises(ConfigError, match="patch_size 32"):
        ViTPyramid(8, patch_size=32)
