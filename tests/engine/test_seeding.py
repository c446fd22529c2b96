"""Sample randomness is a function of the seed and the draw's number."""

from __future__ import annotations

import pickle
import random

import numpy as np
import pytest
import torch

from clipapps.engine.seeding import (
    NumberedSampler,
    SeededDataset,
    capture_random_state,
    noted_bad_samples,
    restore_random_state,
    seeded,
)
from clipapps.errors import BadSampleError


class Noise:
    """Every item draws from all three generators."""

    label = "noise"

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> tuple[int, float, float, float]:
        return index, random.random(), float(np.random.rand()), float(torch.rand(()))


def draw() -> tuple[float, float, float]:
    return Noise()[0][1:]


def test_captured_states_come_back():
    random.gauss(0, 1), np.random.randn()  # leave a cached second value behind
    state = capture_random_state()
    first = draw(), random.gauss(0, 1), np.random.randn()
    restore_random_state(state)
    assert (draw(), random.gauss(0, 1), np.random.randn()) == first


def test_a_seeded_block_leaves_no_trace():
    state = capture_random_state()
    expected = draw()
    restore_random_state(state)
    with seeded(1, 2):
        inside = draw()
    assert draw() == expected
    with seeded(1, 2):
        assert draw() == inside
    with seeded(1, 3):
        assert draw() != inside


def test_samples_depend_on_seed_and_number_alone():
    first, other = SeededDataset(Noise(), 7), SeededDataset(Noise(), 8)
    assert first[5 * 3 + 2] == first[5 * 3 + 2]
    assert first[5 * 3 + 2][0] == 2
    assert first[5 * 3 + 2] != first[5 * 4 + 2]
    assert first[5 * 3 + 2] != other[5 * 3 + 2]
    assert first.label == "noise"
    assert len(pickle.loads(pickle.dumps(first))) == 5


class Bad(Noise):
    """Samples 1 and 3 cannot be read."""

    def __getitem__(self, index: int) -> tuple[int, float, float, float]:
        if index in (1, 3):
            raise BadSampleError(f"{index}.png is damaged.")
        return super().__getitem__(index)


def test_bad_samples_are_raised_or_replaced_by_others_that_depend_on_the_draw_alone(tmp_path):
    with pytest.raises(BadSampleError, match=r"1\.png"):
        SeededDataset(Bad(), 7)[1]
    file = tmp_path / "bad.jsonl"
    replaced = [SeededDataset(Bad(), 7, file)[5 * number + 1] for number in range(20)]
    assert replaced == [SeededDataset(Bad(), 7, file)[5 * number + 1] for number in range(20)]
    assert {sample[0] for sample in replaced} == {0, 2, 4}
    assert sorted(noted_bad_samples(file)) == [1, 3]
    assert noted_bad_samples(file)[3] == "3.png is damaged."


def test_too_many_bad_samples_end_it(tmp_path):
    class AllBad(Noise):
        def __getitem__(self, index: int):
            raise BadSampleError(f"{index}.png is damaged.")

    with pytest.raises(BadSampleError, match=r"4 of 5 samples are bad, and at most 3 are skipped"):
        SeededDataset(AllBad(), 7, tmp_path / "bad.jsonl")[0]


def test_draws_are_numbered_over_epochs_and_processes():
    keys = set()
    for rank in (0, 1):
        sampler = NumberedSampler([rank, 2 + rank], 5, rank, 2)
        for epoch in range(3):
            sampler.set_epoch(epoch)
            drawn = list(sampler)
            assert [key % 5 for key in drawn] == [rank, 2 + rank]
            keys.update(key // 5 for key in drawn)
    assert len(keys) == 2 * 2 * 3


def test_batches_are_numbered_like_single_draws():
    assert list(NumberedSampler([[3, 1], [4, 0]], 5)) == [[3, 6], [14, 15]]
    assert [key for batch in NumberedSampler([[3, 1], [4, 0]], 5) for key in batch] == list(
        NumberedSampler([3, 1, 4, 0], 5))
