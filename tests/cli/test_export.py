"""`clipapps export`: a file that runs without this package, and refusals with exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

CONFIG = "denseclip/maskclip_tiny_toyworld"
TINY = "denseclip/denseclip_fpn_tiny_toyworld"

# What a user of the file writes: numpy, Pillow and onnxruntime, everything else from the file's own metadata.
SCRIPT = """
import json, sys
import numpy as np, onnxruntime
from PIL import Image
file, picture, result = sys.argv[1:]
session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
facts = session.get_modelmeta().custom_metadata_map
pixels = np.asarray(Image.open(picture).convert("RGB"), np.float32) / 255
pixels = (pixels - np.float32(json.loads(facts["mean"]))) / np.float32(json.loads(facts["std"]))
logits = session.run(None, {"images": pixels.transpose(2, 0, 1)[None]})[0]
assert min(pixels.shape[:2]) >= int(facts["smallest_side"]) and logits.shape[1] == len(json.loads(facts["class_names"]))
assert not {"torch", "clipapps", "mmengine", "open_clip"} & set(sys.modules)
np.save(result, logits)
print(*json.loads(facts["class_names"]), sep="|")
"""


def test_an_exported_file_runs_without_this_package(clipapps_cli, tmp_path):
    out = tmp_path / "clip.onnx"
    result = clipapps_cli("export", CONFIG, "--classes", "star, sea, tree", "--out", out, "--size", "96", "128")
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0].startswith(f"{out}  ") and lines[1].startswith("  96 x 128 (traced): differs from the model by at")
    assert len(lines) == 4 and os.listdir(tmp_path) == ["clip.onnx"]

    pixels = np.random.default_rng(0).integers(0, 256, (101, 150, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    ran = subprocess.run([sys.executable, "-I", "-c", SCRIPT, out, tmp_path / "photo.png", tmp_path / "l.npy"],
                         capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "star|sea|tree"

    from clipapps.engine.export import Request
    from clipapps.projects.denseclip.export import make_exportable

    exportable = make_exportable(Request(None, CONFIG, ["star", "sea", "tree"]))
    backbone = exportable.model.segmentor.backbone
    with torch.no_grad():
        expected = exportable.model(backbone.normalize(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255)).numpy()
    assert np.abs(np.load(tmp_path / "l.npy") - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize(("words", "said"), [
    (["denseclip"], "needs --weights"),
    ([TINY], "give its --weights"),
    (["denseclip", "--weights", "absent.safetensors"], "There is no weights file absent.safetensors"),
    (["dencelip", "--weights", "w"], "There is no config 'dencelip'"),
    (["pretrain", "--weights", "w"], "has no exporter"),
    ([CONFIG, "--out", "model.pt"], "must end in .onnx"),
    ([CONFIG, "--format", "torch_export", "--out", "model.onnx"], "must end in .pt2"),
    ([CONFIG, "--out", "there.onnx"], "there.onnx exists"),
    ([CONFIG, "--classes", " , "], "--classes names no class"),
    ([CONFIG, "--classes", "a,a"], "none of them empty or repeated"),
    ([CONFIG, "--size", "32", "64"], "sides must be at least 64"),
    ([CONFIG, "--format", "tflite"], "invalid choice: 'tflite'"),
])
def test_wrong_words_end_with_one_sentence(clipapps_cli, tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.onnx").write_bytes(b"mine")
    result = clipapps_cli("export", *words)
    assert result.code == 2 and said in result.err and "Traceback" not in result.err
    assert os.listdir(tmp_path) == ["there.onnx"] and (tmp_path / "there.onnx").read_bytes() == b"mine"
