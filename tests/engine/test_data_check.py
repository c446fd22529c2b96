"""`data check` over configs: every wrong file once, whatever the number of workers."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CAMVID = "denseclip/denseclip_fpn_tiny_camvid"
TOYWORLD = "denseclip/denseclip_fpn_tiny_toyworld"


def write(file: Path, array: np.ndarray) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(file)
    return file


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    """20 training pairs of 40 x 30 pixels, all road (3), and two of validation."""
    for split, count in (("train", 20), ("val", 2)):
        for number in range(count):
            write(tmp_path / f"images/{split}/{number:02d}.jpg", np.full((30, 40, 3), 90, np.uint8))
            write(tmp_path / f"annotations/{split}/{number:02d}.png", np.full((30, 40), 3, np.uint8))
    return tmp_path


def spoil(root: Path) -> dict[str, str]:
    """Seven files made wrong, each in its own way: file -> a part of what must be said about it."""
    images, labels = root / "images/train", root / "annotations/train"
    whole = write(images / "01.jpg", np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)).read_bytes()
    (images / "01.jpg").write_bytes(whole[: len(whole) // 2])
    (images / "02.jpg").write_bytes(b"")
    (labels / "03.png").unlink()
    write(labels / "04.png", np.full((30, 40), 12, np.uint8))
    write(labels / "05.png", np.full((15, 20), 3, np.uint8))
    write(labels / "06.png", np.full((30, 40), 255, np.uint8))
    write(labels / "orphan.png", np.full((30, 40), 3, np.uint8))
    return {str(images / "01.jpg"): "cannot be decoded", str(images / "02.jpg"): "is empty",
            str(labels / "03.png"): "There is no file", str(labels / "04.png"): "class ids 12",
            str(labels / "05.png"): "is 20 x 15 pixels, but its image",
            str(labels / "06.png"): "every pixel is ignored",
            str(labels / "orphan.png"): "has no image"}


@pytest.mark.parametrize("workers", [0, 2])
def test_every_wrong_file_is_found_once_and_the_rest_is_counted(camvid, clipapps_cli, tmp_path, workers):
    expected = spoil(camvid)
    result = clipapps_cli("data", "check", CAMVID, f"data_root={camvid}", "--workers", str(workers), "--json",
                          tmp_path / "found.json")
    assert result.code == 2 and "Traceback" not in result.out + result.err
    content = json.loads((tmp_path / "found.json").read_text())
    train = content["splits"]["train"]
    found = {finding["file"]: finding["reason"] for finding in train["findings"] if finding["file"]}
    assert found.keys() == expected.keys()
    assert [part for file, part in expected.items() if part not in found[file]] == []
    whole_split = [finding["reason"] for finding in train["findings"] if not finding["file"]]
    assert len(whole_split) == 1 and "1 of 20 images have no label map" in whole_split[0]
    assert (train["samples"], train["read"], train["bad"]) == (20, 20, 6)
    assert train["pixels"] == {"road": 14 * 1200, "ignored": 1200}
    assert all(f"train: {reason}" in result.out.splitlines() for reason in [*found.values(), *whole_split])
    assert content["splits"]["val"]["bad"] == 0 and content["splits"]["val"]["also"] == ["test"]
    assert content["findings_count"] == 8 and result.out.endswith("8 findings.\n")


def test_clean_data_is_said_to_be_clean(camvid, clipapps_cli, tmp_path):
    result = clipapps_cli("data", "check", CAMVID, f"data_root={camvid}", "--workers=0", "--pictures", tmp_path / "p")
    assert result.code == 0 and result.out.endswith("No findings.\n") and result.err == ""
    rows = [line.split() for line in result.out.splitlines()]
    assert ["train", "20", "20", "0", "40x30"] in rows and ["val,", "test", "2", "2", "0", "40x30"] in rows
    assert ["road", "100.00%", "100.00%"] in rows and ["sky", "none", "none"] in rows
    assert Image.open(tmp_path / "p" / "train.png").size[0] == 4 * 40 + 5 * 8
    assert (tmp_path / "p" / "val.png").is_file()


def test_a_limit_spreads_over_the_split(camvid):
    from clipapps.engine.config import load_config
    from clipapps.engine.data_check import check_config

    seen: list[int] = []
    cfg = load_config(CAMVID, [f"data_root={camvid}"])
    (camvid / "images/train/19.jpg").write_bytes(b"")
    summaries = check_config(cfg, limit=3, workers=0, listener=lambda summary, new: seen.append(summary.read))
    assert [(summary.split, summary.read) for summary in summaries] == [("train", 3), ("val", 2)]
    assert summaries[0].findings[0].index == 19 and seen == [1, 2, 3, 1, 2]


def test_a_split_that_is_not_there_does_not_hide_the_others(camvid, clipapps_cli):
    os.rename(camvid / "images" / "train", camvid / "images" / "gone")
    result = clipapps_cli("data", "check", CAMVID, f"data_root={camvid}", "--workers=0")
    assert result.code == 2
    assert f"train: The data folder {camvid / 'images/train'} does not exist." in result.out
    assert ["val,", "test", "2", "2", "0", "40x30"] in [line.split() for line in result.out.splitlines()]


def test_the_toy_world_is_clean(clipapps_cli):
    for config in (TOYWORLD, "pretrain/clip_rn_tiny_toyworld"):
        result = clipapps_cli("data", "check", config, "--limit=3", "--workers=0")
        assert result.code == 0 and "No findings." in result.out, result.out


def test_wrappers_and_other_peoples_data_sets(tmp_path, camvid):
    """A list of two parts, one of them repeated, read by mmsegmentation's own loading steps."""
    from mmengine import Config

    from clipapps.engine.data_check import check_config

    write(camvid / "annotations/train/04.png", np.full((30, 40), 2, np.uint8))
    (camvid / "images/val/01.jpg").unlink()

    def part(split):
        return dict(
            type="mmseg.BaseSegDataset", data_root=str(camvid), metainfo=dict(classes=["a", "b"]),
            data_prefix=dict(img_path=f"images/{split}", seg_map_path=f"annotations/{split}"),
            pipeline=[dict(type=f"mmseg.{name}") for name in ("LoadImageFromFile", "LoadAnnotations", "PackSegInputs")])

    cfg = Config(dict(train_dataloader=dict(dataset=dict(type="ConcatDataset", datasets=[
        part("train"), part("val")])), val_dataloader=dict(dataset=dict(type="RepeatDataset", times=5,
                                                                        dataset=part("val")))))
    summaries = check_config(cfg)
    assert [(summary.split, summary.read, summary.bad) for summary in summaries] == [
        ("train[0]", 20, 20), ("train[1]", 1, 1), ("val", 1, 1)]
    assert "class ids 3, but they go from 0 to 1" in summaries[0].findings[0].reason
    assert "class ids 2," in summaries[0].findings[4].reason
    assert [finding.reason.endswith("01.png: this label map has no image.") for finding in summaries[2].findings] == [
        True, False]


def test_a_config_without_data_is_refused(clipapps_cli, tmp_path):
    file = tmp_path / "bare.py"
    file.write_text("model = dict(type='CLIPBackbone', arch='tiny-rn')\n")
    result = clipapps_cli("data", "check", file)
    assert result.code == 2 and "so there is no data to check" in result.err


def test_a_folder_of_images(camvid, clipapps_cli):
    spoil(camvid)
    result = clipapps_cli("data", "check", camvid / "images")
    lines = result.out.splitlines()
    assert result.code == 2 and len([line for line in lines if line.startswith("images: ")]) == 2
    assert ["images", "22", "22", "2", "40x30"] in [line.split() for line in lines]
    assert clipapps_cli("data", "check", camvid / "images" / "val").code == 0
    refused = clipapps_cli("data", "check", camvid / "images", "a.b=c")
    assert refused.code == 2 and "'a.b=c' changes nothing" in refused.err
