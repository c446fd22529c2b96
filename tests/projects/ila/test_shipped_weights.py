"""What a user gets without training: motions that no single frame gives away are told apart, in arrays and in files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import clipapps
from clipapps.engine.config import load_config
from clipapps.project import get_project
from clipapps.registry import DATASETS
from clipapps.toyworld import MOTIONS, ToyWorldVideos, write_film

FILMS = 56
# measured over 560 films: 75.2 % and 22.3 %
MARGIN = 0.26
MEAN_POOLED = 0.223


@pytest.fixture(scope="module")
def inferencer():
    return clipapps.load("ila", device="cpu")


def test_the_file_is_small():
    file = get_project("ila").shipped_weights()
    assert file is not None and file.stat().st_size < 4_000_000


def test_motions_are_told_far_better_than_by_frames_without_order(inferencer):
    films = DATASETS.build(load_config("ila/ila_tiny_toyworld").val_dataloader.dataset)
    samples = [films[index] for index in range(FILMS)]
    clips = inferencer.model.data_preprocessor.normalize(torch.stack([sample["inputs"] for sample in samples]))
    with torch.inference_mode():
        found = inferencer.model(clips).argmax(dim=1)
    share = (found == torch.tensor([sample["label"] for sample in samples])).float().mean().item()
    assert share > MEAN_POOLED + MARGIN


def test_a_film_run_backwards_is_the_other_motion_of_its_pair(inferencer):
    films = ToyWorldVideos(num_videos=42, frames=16, size=64, split="test")
    right = []
    for index in (0, 3, 6, 8, 15, 16, 21, 23, 28, 31, 34, 37):  # left, right, up, down, grows, shrinks, appears, ...
        frames = films[index]["inputs"].permute(0, 2, 3, 1).numpy()
        one, other = (inferencer(part)[0].scores for part in (frames, frames[::-1].copy()))
        label = films[index]["label"]
        right += [one[label] > one[label ^ 1], other[label ^ 1] > other[label]]
    assert np.mean(right) > 0.75  # guessing: 0.5


def test_the_command_line_knows_a_film_without_weights_and_without_classes(clipapps_cli, tmp_path):
    pytest.importorskip("av")
    film = write_film(tmp_path / "film.mp4", "grows")
    assert clipapps_cli("predict", "ila", film, "--out", tmp_path / "out").code == 0
    facts = json.loads((tmp_path / "out" / "film.json").read_text())
    assert facts["method"] == "ila_tiny_toyworld" and {entry["name"] for entry in facts["top"]} <= set(MOTIONS)
    assert facts["top"][0]["name"] == "grows"
    own = clipapps_cli("predict", "ila", film, "--classes", "a red star, a blue car", "--out", tmp_path / "own")
    assert own.code == 0
    assert json.loads((tmp_path / "own" / "film.json").read_text())["method"] == "zero-shot, CLIP tiny-vit"
