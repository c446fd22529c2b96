"""Which frames are looked at; the released samplers' exact numbers are golden cases."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipapps.projects.ila.sampling import CenterSampler, DenseSampler, SegmentSampler, ViewSampler
from clipapps.registry import TRANSFORMS

SAMPLERS = [SegmentSampler(8), SegmentSampler(8, random=False), ViewSampler(8, 4), ViewSampler(8, 3, random=True),
            CenterSampler(8), DenseSampler(8)]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: type(sampler).__name__)
@given(length=st.integers(1, 2000))
def test_indices_are_frames_of_the_video(sampler, length):
    indices = sampler(length)
    assert indices.shape == (getattr(sampler, "views", 1), 8)
    assert indices.dtype.kind == "i"
    assert indices.min() >= 0
    assert indices.max() < length


@given(length=st.integers(8, 2000))
def test_segments_share_their_ends(length):
    segments = SegmentSampler(8).segments(length)
    assert segments[0][0] == 0
    assert segments[-1][1] == length - 1
    assert all(before[1] == after[0] for before, after in zip(segments[:-1], segments[1:], strict=True))


@given(length=st.integers(32, 2000))
def test_deterministic_views_differ_and_stay_in_their_parts(length):
    sampler = ViewSampler(8, 4)
    indices = sampler(length)
    assert (indices == sampler(length)).all()
    parts = np.arange(8) * (length // 8)
    assert ((indices >= parts) & (indices < parts + length // 8)).all()
    assert len({tuple(view) for view in indices.tolist()}) == 4
    assert (np.diff(indices, axis=0) > 0).all()


def test_random_samplers_draw_from_the_seeded_generators():
    for sampler in (SegmentSampler(8), ViewSampler(8, 4, random=True)):
        drawn = []
        for seed in (1, 1, 2):
            random.seed(seed)
            np.random.seed(seed)
            drawn.append(sampler(300).tolist())
        assert drawn[0] == drawn[1] != drawn[2]


def test_short_videos():
    assert ViewSampler(8, 2)(5).tolist() == 2 * [[0, 1, 1, 2, 2, 3, 4, 4]]
    assert ViewSampler(4, 1)(1).tolist() == [[0, 0, 0, 0]]
    assert ViewSampler(16, 1)(15)[0][-1] == 14  # the released sampler wraps to frame 0 at some lengths
    assert ViewSampler(16, 1, random=True)(5)[0].tolist()[-1] == 0


def test_the_registry_knows_them():
    sampler = TRANSFORMS.build(dict(type="SegmentSampler", frames=4, random=False))
    assert sampler(40).tolist() == [[5, 15, 24, 34]]
