"""Runs in unusual surroundings: odd folder names, a home that cannot be written, no network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ODD = "mein Ordner äöü 数据"
BASELINE = "denseclip/fpn_tiny_toyworld"
SHORT = ("train_cfg.max_iters=2", "train_cfg.val_interval=2")


def test_a_run_among_spaces_and_foreign_letters_with_a_home_that_cannot_be_written(tmp_path):
    """A process of its own, because libraries look for their folders in the home when they are imported."""
    from clipapps.engine.config import find_config

    folder = tmp_path / ODD
    folder.mkdir()
    source = find_config("pretrain/clip_rn_tiny_toyworld")
    shutil.copy(source, folder / "meine Versuche.py")
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("MPLCONFIGDIR", "XDG_CACHE_HOME", "TORCH_HOME", "HF_HOME")}
    done = subprocess.run(
        [sys.executable, "-m", "clipapps", "train", "meine Versuche.py", "--work-dir", "Läufe 1", *SHORT,
         "train_dataloader.num_workers=0", "train_dataloader.batch_size=4", "train_dataloader.dataset.stages.0.size=32",
         "val_dataloader.dataset.stages=[{'num_scenes': 4}]", "val_dataloader.dataset.size=32",
         "val_dataloader.batch_size=4"],
        cwd=folder, capture_output=True, text=True, check=False,
        env={**environment, "HOME": "/dev/null/home", "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / "Läufe 1" / "metrics.json").read_text())["iterations"] == 2
    assert "Läufe 1/metrics.json" in done.stdout


def test_prediction_and_data_check_among_spaces_and_foreign_letters(tmp_path, clipapps_cli, monkeypatch):
    folder = tmp_path / ODD
    folder.mkdir()
    monkeypatch.chdir(folder)
    Image.fromarray(np.full((64, 96, 3), 120, np.uint8)).save("Foto ß.png")
    predicted = clipapps_cli("predict", "denseclip", "Foto ß.png", "--out", "Ergebnis é", "--classes", "sky, tree")
    assert predicted.code == 0, predicted.err
    assert (folder / "Ergebnis é" / "Foto ß.json").is_file() and (folder / "Ergebnis é" / "Foto ß.png").is_file()
    (folder / "kaputt €.jpg").write_bytes(b"")
    checked = clipapps_cli("data", "check", ".")
    assert checked.code == 2 and "kaputt €.jpg is empty." in checked.out


@pytest.mark.parametrize(("arch", "tag", "file"), [
    ("RN50", "openai", "open_clip_model.safetensors of timm/resnet50_clip.openai"),
    ("ViT-B-16", "laion2b_s34b_b88k", "open_clip_model.safetensors of laion/CLIP-ViT-B-16-laion2B-s34B-b88K"),
    ("ViTamin-S", "datacomp1b", "pytorch_model.bin of jienengchen/ViTamin-S"),
])
def test_without_a_network_the_message_names_the_file_to_fetch(tmp_path, clipapps_cli, monkeypatch, arch, tag, file):
    from clipapps.clip import open_clip_models

    def offline(*args: object, **kwargs: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(open_clip_models.socket, "getaddrinfo", offline)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    result = clipapps_cli("train", BASELINE, "--work-dir", tmp_path / "run", f"model.backbone.arch={arch}",
                          f"model.backbone.weights={tag}", *SHORT)
    assert result.code == 2 and "Traceback" not in result.err
    assert f"{arch}/{tag} ({file})" in result.err and "no route to host" in result.err
    assert "give its path as `weights`" in result.err
    assert not Path(tmp_path / "run").exists()
