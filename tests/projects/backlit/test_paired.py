"""Training with pairs: its data, its loss, and the recipe of the shipped weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clipapps.errors import DataError
from clipapps.projects.backlit import paired
from clipapps.projects.backlit.network import EnhancementNetwork, enhance
from clipapps.projects.backlit.paired import BacklitPairedEnhancer, SyntheticPairs, SyntheticTestPairs


def test_an_index_is_a_sample():
    pictures = SyntheticPairs(num_samples=6, size=48)
    first, again, other = pictures[2], SyntheticPairs(num_samples=6, size=48)[2], pictures[3]
    assert torch.equal(first["inputs"], again["inputs"]) and torch.equal(first["target"], again["target"])
    assert not torch.equal(first["inputs"], other["inputs"])
    assert first["target"].shape == (3, 48, 48) and first["light_map"].shape == (1, 48, 48)
    with pytest.raises(IndexError):
        pictures[6]


def test_a_folder_of_own_photos_is_used(tmp_path: Path):
    Image.fromarray(np.full((70, 90, 3), (10, 200, 30), dtype=np.uint8)).save(tmp_path / "green.png")
    pictures = SyntheticPairs(num_samples=1, size=32, folders=[str(tmp_path)], toyworld=0.0)
    assert tmp_path / "green.png" in pictures.files
    pictures.files = [tmp_path / "green.png"]
    red, green, blue = pictures[0]["target"].float().mean(dim=(1, 2))
    assert green > 2 * red and green > 2 * blue


def test_held_out_photos_are_not_trained_on():
    trained, held_out = SyntheticPairs(num_samples=1).files, SyntheticTestPairs(draws=1).files
    assert len(held_out) == 5
    assert not {file.name for file in trained} & {file.name for file in held_out}


def test_no_photos_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(paired, "TRAIN_PHOTOS", ())
    with pytest.raises(DataError, match=r"train_dataloader\.dataset\.folders"):
        SyntheticPairs(num_samples=1)


def test_the_loss_is_zero_for_the_right_map_and_grows_with_the_error():
    class Constant(EnhancementNetwork):
        value = 0.5

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.full_like(images[:, :1], self.value)

    network = Constant()
    model = BacklitPairedEnhancer(network, map_weight=1.0, map_floor=0.0)
    images = torch.randint(10, 120, (1, 3, 8, 8), dtype=torch.uint8)
    light_map = torch.full((1, 1, 8, 8), 0.5)
    losses = model(images, mode="loss", target=2 * images, light_map=light_map)
    assert losses["loss"].item() == pytest.approx(0, abs=1e-6)
    network.value = 1.0
    losses = model(images, mode="loss", target=2 * images, light_map=light_map)
    assert losses["loss_map"].item() == pytest.approx(np.log(2), abs=1e-5)
    assert losses["loss_photo"].item() == pytest.approx(images.float().mean().item() / 255, abs=1e-5)


def test_the_recipe_trains(tmp_path: Path):
    from clipapps.engine import runner
    from clipapps.engine.config import load_config

    config = load_config("backlit/paired_free_photos", [
        "train_dataloader.dataset.size=32", "train_cfg.max_iters=3", "train_cfg.val_interval=3", "custom_hooks=[]",
        "val_dataloader.dataset.draws=1", "val_dataloader.dataset.longest_side=48", "param_scheduler=[]"])
    metrics = runner.train(config, tmp_path)
    assert {"PSNR", "input_PSNR", "clipped"} <= set(metrics)
    assert metrics["PSNR"] > 5


def test_predictions_have_the_networks_picture():
    torch.manual_seed(0)
    network = EnhancementNetwork(start_bias=0.7)
    images = torch.randint(0, 255, (2, 3, 12, 12), dtype=torch.uint8)
    found = BacklitPairedEnhancer(network)(images, mode="predict", sample_idx=torch.tensor([4, 7]), target=images)
    assert [item["sample_idx"] for item in found] == [4, 7]
    with torch.no_grad():
        expected = enhance(images / 255, network(images / 255))[1]
    assert (found[1]["enhanced"].float() - expected * 255).abs().max() <= 0.51
