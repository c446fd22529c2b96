"""Wrong input through the whole command line: one clear sentence, exit code 2, no traceback, nothing half-written."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CONFIG = "denseclip/fpn_tiny_camvid"
QUICK = ("--device", "cpu", "model.backbone.weights=None", "train_cfg.max_iters=1", "train_cfg.val_interval=1",
         "train_dataloader.batch_size=2", "train_dataloader.num_workers=1")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four small pictures in CamVid's layout, two to train on and two to evaluate."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind, shape, high in (("images", (96, 128, 3), 256), ("annotations", (96, 128), 11)):
            folder = tmp_path / "data" / kind / split
            folder.mkdir(parents=True)
            for name in ("a.png", "b.png"):
                Image.fromarray(rng.integers(0, high, shape, dtype=np.uint8)).save(folder / name)
    return tmp_path / "data"


@pytest.fixture
def train(clipapps_cli, data, tmp_path):
    """Train on the pictures for one step with the given overrides."""

    def call(*overrides):
        return clipapps_cli("train", CONFIG, "--work-dir", tmp_path / "run", *QUICK, f"data_root={data}", *overrides)

    return call


def refused(result, *said: str) -> bool:
    """Exit code 2, and one short message that says all of `said`."""
    assert result.code == 2, result.err
    assert "Traceback" not in result.err
    for words in said:
        assert words in result.err
    return True


def test_missing_data_folder(train, tmp_path):
    assert refused(train(f"data_root={tmp_path / 'nowhere'}"), str(tmp_path / "nowhere"), "data_root=")
    assert not (tmp_path / "run").exists()  # nothing ran, so nothing is left


def test_empty_data_folder(train, data):
    for file in (data / "images" / "train").iterdir():
        file.unlink()
    assert refused(train(), str(data / "images" / "train"))


def test_image_without_its_label_map(train, data):
    (data / "annotations" / "train" / "b.png").unlink()
    assert refused(train(), "b.png", "annotations")


def test_image_that_does_not_decode(train, data):
    (data / "images" / "train" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n not a picture")
    (data / "images" / "train" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n not a picture")
    assert refused(train(), "images/train/", ".png")


def test_label_outside_the_classes(train, data):
    for name in ("a.png", "b.png"):
        Image.fromarray(np.full((96, 128), 77, np.uint8)).save(data / "annotations" / "train" / name)
    assert refused(train(), "annotations/train/", "77")


@pytest.mark.parametrize(("override", "said"), [
    ("train_cfg.max_iter=3", "Did you mean 'max_iters'?"),
    ("optim_wrapper.optimizer.lrr=1", "Did you mean 'lr'?"),
    ("model.decode_head.chanels=3", "Did you mean 'channels'?"),
    ("trian_cfg.max_iters=3", "Did you mean 'train_cfg'?"),
    ("model.backbone.arch=tiny-nr", "Did you mean 'tiny-rn'?"),
])
def test_wrong_config_key_or_value_starts_nothing(train, tmp_path, override, said):
    assert refused(train(override), said)
    assert not (tmp_path / "run" / "metrics.json").exists() and not list((tmp_path / "run").glob("*.pth"))


class Payload:
    """Unpickled carelessly, this would create a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def test_hostile_pickle_as_weights_is_refused_and_does_not_run(clipapps_cli, data, tmp_path):
    ran, weights = tmp_path / "it_ran", tmp_path / "weights.pth"
    weights.write_bytes(pickle.dumps({"state_dict": Payload(ran)}))
    result = clipapps_cli("test", CONFIG, weights, "--out", tmp_path / "out", "--device", "cpu", f"data_root={data}")
    assert refused(result, "weights.pth")
    assert not ran.exists()
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_weights_of_another_model(clipapps_cli, data, tmp_path):
    import torch
    from safetensors.torch import save_file

    save_file({"layer.weight": torch.zeros(3, 3)}, tmp_path / "other.safetensors")
    result = clipapps_cli("test", CONFIG, tmp_path / "other.safetensors", "--out", tmp_path / "out", "--device", "cpu",
                          f"data_root={data}")
    assert refused(result, "other.safetensors")


@pytest.mark.parametrize("content", [None, b"", b"junk" * 100])
def test_missing_or_damaged_weights(clipapps_cli, data, tmp_path, content):
    weights = tmp_path / "weights.safetensors"
    if content is not None:
        weights.write_bytes(content)
    result = clipapps_cli("test", CONFIG, weights, "--out", tmp_path / "out", "--device", "cpu", f"data_root={data}")
    assert refused(result, str(weights))


def test_the_same_command_line_works_on_whole_data(train, tmp_path):
    result = train()
    assert result.code == 0, result.err
    assert (tmp_path / "run" / "metrics.json").is_file()
