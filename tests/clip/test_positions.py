"""Positional grids at other sizes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from clipapps.clip import DenseAttentionPool, resize_positions
from clipapps.clip.attention_pool import value_pool
from clipapps.errors import UserError


def test_the_native_grid_is_returned_untouched() -> None:
    table = torch.randn(17, 3)
    assert resize_positions(table, (4, 4)) is table


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_resize_interpolates_cells_and_keeps_prefix_rows(interpolation: str) -> None:
    table = torch.randn(2 + 9, 5)
    resized = resize_positions(table, (4, 6), num_prefix=2, interpolation=interpolation)
    assert torch.equal(resized[:2], table[:2])
    cells = table[2:].T.reshape(1, 5, 3, 3)
    expected = F.interpolate(cells, size=(4, 6), mode=interpolation, align_corners=False)
    torch.testing.assert_close(resized[2:], expected.flatten(2)[0].T)


def test_crop_takes_the_top_left_corner_and_resizes_when_too_small() -> None:
    table = torch.arange(10.0).view(10, 1)
    assert resize_positions(table, (2, 3), mode="crop").squeeze().tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert torch.equal(resize_positions(table, (4, 4), mode="crop"), resize_positions(table, (4, 4)))


def test_a_table_that_is_no_square_is_refused() -> None:
    with pytest.raises(UserError, match="do not form a square grid"):
        resize_positions(torch.zeros(7, 2), (2, 2))


def test_attention_pool_equals_explicit_attention() -> None:
    """Queries at every position, softmax(q k / sqrt(d)) v, written out head by head in float64."""
    pool = DenseAttentionPool(grid=2, in_channels=8, num_heads=2, out_channels=5).double()
    x = torch.randn(3, 8, 2, 2, dtype=torch.float64)
    tokens = x.flatten(2).transpose(1, 2)
    tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], 1) + pool.positional_embedding
    heads = [layer(tokens).view(3, 5, 2, 4).transpose(1, 2) for layer in (pool.q_proj, pool.k_proj, pool.v_proj)]
    weights = (heads[0] @ heads[1].transpose(-1, -2) / 2).softmax(-1)
    expected = pool.c_proj((weights @ heads[2]).transpose(1, 2).flatten(2))
    pooled, dense = pool(x)
    torch.testing.assert_close(pooled, expected[:, 0])
    torch.testing.assert_close(dense.flatten(2).transpose(1, 2), expected[:, 1:])


def test_value_pool_is_a_one_by_one_convolution() -> None:
    pool = DenseAttentionPool(grid=2, in_channels=8, num_heads=2, out_channels=5)
    x = torch.randn(1, 8, 3, 4)
    expected = F.conv2d(F.conv2d(x, pool.v_proj.weight[..., None, None], pool.v_proj.bias),
                        pool.c_proj.weight[..., None, None], pool.c_proj.bias)
    torch.testing.assert_close(value_pool(pool, x), expected)
