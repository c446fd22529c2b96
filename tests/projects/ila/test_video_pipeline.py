"""From video files to training and scores, through the command line; damaged files on the way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("av", reason="PyAV comes with the extras ila and backlit")

CONFIG = "ila/ila_tiny_toyworld_videos"
FILES = [f"{split}_dataloader.dataset.{key}={value}" for split, count in (("train", 7), ("val", 2), ("test", 2))
         for key, value in (("num_videos", count), ("frames", 12), ("size", 64))]
TINY = ["model.backbone.weights=None", "model.alignment.channels=16", "train_cfg.max_epochs=1",
        "train_cfg.val_interval=1", "train_dataloader.batch_size=7", "val_dataloader.batch_size=2",
        "param_scheduler=[]"]


@pytest.fixture
def films(tmp_path, monkeypatch) -> Path:
    """The cache folder that the films are written to."""
    monkeypatch.setenv("CLIPAPPS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "toyworld_videos"


def damage(films: Path, split: str, number: int) -> Path:
    """Cut a video of a set in two and throw the second half away, with a hole in what is left."""
    [file] = films.glob(f"{split}-*/{number:05d}.mp4")
    content = file.read_bytes()
    file.write_bytes(content[:2 * len(content) // 3 - 40] + bytes(40))
    return file


def test_training_from_files_skips_a_damaged_one(clipapps_cli, tmp_path, films):
    checked = clipapps_cli("data", "check", CONFIG, *FILES)
    assert checked.code == 0, checked.out + checked.err
    assert "train" in checked.out and "64x64" in checked.out and "turns clockwise" in checked.out
    damaged = damage(films, "train", 3)
    checked = clipapps_cli("data", "check", CONFIG, *FILES)
    assert checked.code == 2 and f"train: {damaged} " in checked.out and "1 finding." in checked.out
    work_dir = tmp_path / "run"
    trained = clipapps_cli("train", CONFIG, "--work-dir", work_dir, "--device", "cpu", *FILES, *TINY)
    assert trained.code == 0, trained.err[-2000:]
    assert "top1" in json.loads((work_dir / "metrics.json").read_text())
    [noted] = [json.loads(line) for line in (work_dir / "bad_samples.jsonl").read_text().splitlines()]
    assert noted["index"] == 3 and str(damaged) in noted["reason"]


def test_a_damaged_file_ends_a_run_that_does_not_skip(clipapps_cli, tmp_path, films):
    options = [*FILES, *TINY, "train_dataloader.on_bad_sample=raise"]
    clipapps_cli("data", "check", CONFIG, *FILES)
    damaged = damage(films, "train", 3)
    trained = clipapps_cli("train", CONFIG, "--work-dir", tmp_path / "run", "--device", "cpu", *options)
    assert trained.code == 2
    assert str(damaged) in trained.err and "Traceback" not in trained.err


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_samples_do_not_depend_on_workers(films, workers):
    import torch

    from clipapps.engine.config import load_config
    from clipapps.engine.loaders import build_dataloader

    cfg = load_config(CONFIG, FILES)
    batches = []
    for count in (0, workers):
        loader = build_dataloader({**cfg.train_dataloader, "num_workers": count, "batch_size": 7}, seed=3)
        batches.append([batch["inputs"] for batch in loader])
    for one, other in zip(*batches, strict=True):
        assert torch.equal(torch.stack(list(one)), torch.stack(list(other)))


def test_real_videos_by_a_list(clipapps_cli, shared):
    folder = shared / "data" / "ila"
    if not folder.is_dir():
        pytest.skip(f"there are no videos in {folder}")
    options = [f"{split}_dataloader.dataset.{key}={value}" for split in ("train", "val", "test")
               for key, value in (("data_root", folder), ("data_prefix", "videos"))]
    checked = clipapps_cli("data", "check", "ila/ila_vit_b32_8f_k400", "--workers", "0", *options)
    assert checked.code == 0, checked.out + checked.err
    assert "cartoon animal in a meadow" in checked.out and "1280x720" in checked.out
