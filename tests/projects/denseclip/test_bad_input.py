"""What a user gets wrong: exit code 2, one sentence that names file or key and the way out, nothing left behind."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from clipapps.data.images import write_image

CAMVID = "denseclip/denseclip_fpn_tiny_camvid"
TOY = "denseclip/denseclip_fpn_tiny_toyworld"
RANDOM = "model.backbone.weights=None"


@pytest.fixture
def refused(clipapps_cli, tmp_path):
    """`refused(*arguments)`: the message of a command that must end with code 2 and leave no results behind."""
    def call(*arguments) -> str:
        work_dir = tmp_path / "work"
        result = clipapps_cli(*arguments, *(["--work-dir", work_dir] if arguments[0] == "train" else []))
        assert result.code == 2, result.err
        assert "Traceback" not in result.err
        left = [path.name for path in work_dir.rglob("*")] if work_dir.exists() else []
        assert not {name for name in left if name.endswith((".pth", ".safetensors", "metrics.json"))}
        return result.err

    return call


def write_camvid(root: Path, label: int = 3) -> None:
    for split in ("train", "val"):
        for kind in ("images", "annotations"):
            (root / kind / split).mkdir(parents=True)
        for index in range(2):
            write_image(root / "images" / split / f"{index}.jpg", np.full((256, 256, 3), 90, np.uint8))
            write_image(root / "annotations" / split / f"{index}.png", np.full((256, 256), label, np.uint8))


def test_missing_data_folder(refused, tmp_path):
    message = refused("train", CAMVID, RANDOM, f"data_root={tmp_path / 'nowhere'}")
    assert f"{tmp_path}/nowhere/images/train does not exist" in message and "data_root=" in message


def test_empty_data_folder(refused, tmp_path):
    (tmp_path / "images" / "train").mkdir(parents=True)
    assert "holds no image" in refused("train", CAMVID, RANDOM, f"data_root={tmp_path}")


def test_a_picture_that_does_not_decode(refused, tmp_path):
    write_camvid(tmp_path)
    for file in (tmp_path / "images" / "train").iterdir():
        file.write_bytes(b"no picture")
    message = refused("train", CAMVID, RANDOM, f"data_root={tmp_path}", "train_dataloader.num_workers=0",
                      "train_dataloader.persistent_workers=False")
    assert f"{tmp_path}/images/train/" in message and ".jpg" in message


def test_a_label_outside_the_classes(refused, tmp_path):
    write_camvid(tmp_path, label=77)
    message = refused("train", CAMVID, RANDOM, f"data_root={tmp_path}", "train_dataloader.num_workers=0",
                      "train_dataloader.persistent_workers=False")
    assert "has class ids 77, but ids go from 0 to 10" in message


@pytest.mark.parametrize("override, words", [
    ("model.prompt_mod=post", "Did you mean 'prompt_mode'"),
    ("model.context_decoder.hedas=4", "Did you mean 'heads'"),
    ("model.backbone.trainabel=image", "Did you mean 'trainable'"),
    ("train_dataloader.dataset.num_scene=5", "Did you mean 'num_scenes'"),
    ("model.prompt_mode=pots", "Did you mean 'post'"),
    ("model.backbone.arch=RN5O", "There is no architecture 'RN5O'"),
    ("model.class_names=[background,home,tree]",
     "has 3 classes, the data of train_dataloader has 11; class 1 is 'home' there and 'house' here"),
])
def test_a_wrong_key_or_value_at_any_depth(refused, override, words):
    assert words in refused("train", TOY, RANDOM, override)


def test_weights_of_another_model(refused, tmp_path):
    import torch

    from clipapps.engine.checkpoint import save_weights
    save_weights({"layer.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    message = refused("test", TOY, tmp_path / "other.safetensors", "--out", tmp_path / "out")
    assert "other.safetensors does not fit DenseCLIPSegmentor" in message and "missing" in message


def test_a_hostile_pickle_runs_nothing(refused, tmp_path):
    class Hostile:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    (tmp_path / "hostile.pth").write_bytes(pickle.dumps({"state_dict": Hostile()}))
    assert "hostile.pth" in refused("test", TOY, tmp_path / "hostile.pth", "--out", tmp_path / "out")
    assert "hostile.pth" in refused("predict", "denseclip", write(tmp_path), "--weights", tmp_path / "hostile.pth")
    assert not (tmp_path / "ran").exists()


def write(folder: Path) -> Path:
    write_image(folder / "photo.png", np.zeros((64, 64, 3), np.uint8))
    return folder / "photo.png"


def test_a_photo_that_is_none(refused, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"text")
    weights = "photo.jpg"
    assert weights in refused("predict", "denseclip", tmp_path / "photo.jpg", "--out", tmp_path / "out")
    assert "There is no file or folder" in refused("predict", "denseclip", tmp_path / "absent.jpg")
