"""Pictures of both sides: labels, equalized lengths, one draw for a ranked sample, targets by exact stem."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clipapps.engine.seeding import seeded
from clipapps.errors import BadSampleError, DataError
from clipapps.projects.backlit.augmentation import Draw, augment, sample_draw
from clipapps.projects.backlit.datasets import (
    FolderPairs,
    LabeledView,
    LightingFolders,
    RankedView,
    ToyWorldLighting,
    ToyWorldLightingPairs,
)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, str]:
    """Two backlit photos of value 10 and 20, and three well-lit ones of 210, 220, 230."""
    for folder, values in (("high_backlit", (10, 20)), ("normal", (210, 220, 230))):
        (tmp_path / folder).mkdir()
        for value in values:
            Image.fromarray(np.full((12, 20, 3), value, np.uint8)).save(tmp_path / folder / f"photo{value}.png")
    return str(tmp_path / "high_backlit"), str(tmp_path / "normal")


def test_labels_come_from_the_side_and_the_shorter_side_is_repeated(folders):
    view = LabeledView(LightingFolders(*folders, guidance_size=16))
    found = [(sample["label"], int(sample["inputs"][0, 0, 0])) for sample in map(view.__getitem__, range(len(view)))]
    assert found == [(0, 10), (0, 20), (0, 10), (1, 210), (1, 220), (1, 230)]


def test_ranked_samples_hold_their_own_intermediates_in_order(folders):
    view = RankedView(LightingFolders(*folders, guidance_size=16), seed=0)
    groups = [np.stack([np.full((16, 16, 3), base + own, np.uint8) for own in range(2)]) for base in (100, 150)]
    view.set_intermediates(groups)
    samples = [view[index]["inputs"][:, 0, 0, 0].tolist() for index in range(len(view))]
    assert [sample[:3] for sample in samples] == [[10, 100, 150], [20, 101, 151], [10, 100, 150]]
    assert sorted(sample[3] for sample in samples) == [210, 220, 230]


def test_a_ranked_sample_has_one_draw():
    pictures = ToyWorldLighting(num_scenes=1, size=32, paired=True)
    view = RankedView(pictures)
    view.set_intermediates([pictures.read(1, 0)[None]])
    for number in range(8):
        with seeded(number):
            inputs = view[0]["inputs"]
        assert torch.equal(inputs[1], inputs[2]) and inputs.shape == (3, 3, 32, 32)


def test_samples_depend_on_their_seed_alone():
    pictures = ToyWorldLighting(num_scenes=2, size=32)
    with seeded(1):
        first = pictures[0]["inputs"]
    with seeded(1):
        assert torch.equal(first, pictures[0]["inputs"])
    with seeded(3):
        assert not torch.equal(first, pictures[0]["inputs"])


def test_draws_have_the_published_frequencies():
    with seeded(0):
        draws = [sample_draw((0.7, 1.3)) for _ in range(2000)]
    shares = {"hflip": 0.5, "vflip": 0.5, "transpose": 0.5, "zoom": 0.3, "angle": 0.3}
    for name, share in shares.items():
        found = np.mean([getattr(draw, name) not in (False, None) for draw in draws])
        assert found == pytest.approx(share, abs=0.04), name
    assert all(0.7 <= factor <= 1.3 for draw in draws if draw.zoom for factor in draw.zoom)


def test_no_draw_changes_nothing():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    assert np.array_equal(augment(image, Draw()), image)


def test_toy_pairs_show_the_same_scene_in_another_light():
    sample = ToyWorldLightingPairs(num_scenes=2, size=64)[1]
    assert sample["inputs"].shape == sample["target"].shape == (3, 64, 64)
    assert not torch.equal(sample["inputs"], sample["target"])


def test_targets_are_found_by_their_exact_stem(tmp_path: Path):
    for folder, names in (("in", ("1.png", "10.jpg")), ("out", ("10.png", "1.png"))):
        (tmp_path / folder).mkdir()
        for name in names:
            Image.fromarray(np.full((8, 8, 3), int(name.split(".")[0]), np.uint8)).save(tmp_path / folder / name)
    pairs = FolderPairs(str(tmp_path / "in"), str(tmp_path / "out"))
    assert [(pairs[i]["name"], int(pairs[i]["target"][0, 0, 0])) for i in range(2)] == [("1", 1), ("10", 10)]
    (tmp_path / "out" / "1.png").unlink()
    with pytest.raises(DataError, match=r"1 of 2 photos.*1\.png"):
        FolderPairs(str(tmp_path / "in"), str(tmp_path / "out"))


def test_a_target_of_another_size_is_a_bad_sample(tmp_path: Path):
    for folder, side in (("in", 8), ("out", 9)):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(tmp_path / folder / "a.png")
    with pytest.raises(BadSampleError, match="8 x 8 pixels, its target 9 x 9"):
        FolderPairs(str(tmp_path / "in"), str(tmp_path / "out"))[0]


def test_a_missing_folder_names_the_override(tmp_path: Path):
    with pytest.raises(DataError, match="train_dataloader.dataset.backlit=DIR"):
        LightingFolders(str(tmp_path / "none"), str(tmp_path))
