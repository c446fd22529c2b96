"""Multi-scale and flip testing: equal to an average written by hand, from the pipeline to the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from clipapps.data.images import read_image, write_image
from clipapps.engine.checkpoint import save_weights
from clipapps.engine.config import load_config
from clipapps.engine.tta import use_test_time_augmentation
from clipapps.errors import ConfigError
from clipapps.projects.denseclip.views import AveragedViews
from clipapps.registry import MODELS

CONFIG = "denseclip/denseclip_fpn_tiny_camvid"
SIZES = [(72, 96), (96, 128), (144, 192)]
VIEWS = [f"tta_pipeline.1.transforms.0.{index}.scale=({width}, {height})"
         for index, (height, width) in enumerate(SIZES)]


def write_camvid(root: Path) -> None:
    generator = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in ("images", "annotations"):
            (root / kind / split).mkdir(parents=True)
        for index in range(2):
            image = np.kron(generator.integers(0, 256, (9, 12, 3)), np.ones((10, 10, 1))).astype(np.uint8)
            write_image(root / "images" / split / f"{index}.png", image)
            labels = np.kron(generator.integers(0, 11, (9, 12)), np.ones((10, 10))).astype(np.uint8)
            write_image(root / "annotations" / split / f"{index}.png", labels)


def load(root: Path, *overrides: str):
    init_default_scope("clipapps")
    return load_config(CONFIG, [f"data_root={root}", "model.backbone.weights=None", "test_dataloader.num_workers=0",
                                "test_dataloader.persistent_workers=False", *VIEWS, *overrides])


def build(cfg):
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).eval()
    for module in model.modules():  # another view must look different also to an untrained model
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
    return model


@pytest.mark.parametrize("test_cfg", ["{'mode':'whole'}", "{'mode':'slide','crop_size':(64,64),'stride':(43,43)}"])
def test_the_mean_over_views_equals_one_written_by_hand(tmp_path, test_cfg):
    write_camvid(tmp_path)
    cfg = load(tmp_path, f"model.test_cfg={test_cfg}")
    plain = build(cfg)
    use_test_time_augmentation(cfg)
    model = build(cfg)
    assert list(model.state_dict()) == list(plain.state_dict())
    model.load_state_dict(plain.state_dict())
    with torch.no_grad():
        merged = model.test_step(next(iter(Runner.build_dataloader(cfg.test_dataloader, seed=0))))
        image = read_image(tmp_path / "images" / "val" / "0.png")
        expected = by_hand(plain, image, SIZES)
    assert len(merged) == 1
    torch.testing.assert_close(merged[0].seg_logits.data.exp(), expected, atol=2e-5, rtol=1e-4)
    assert torch.equal(merged[0].pred_sem_seg.data[0], merged[0].seg_logits.data.argmax(dim=0))
    labels = read_labels(tmp_path / "annotations" / "val" / "0.png")
    assert np.array_equal(merged[0].gt_sem_seg.data[0].numpy(), labels)  # neither resized nor mirrored


def test_views_are_merged_in_mmengines_order_too() -> None:
    logits = torch.randn(2, 3, 4, 5, 5, generator=torch.Generator().manual_seed(0))  # image, view, class

    def predictions():
        return [[SegDataSample(seg_logits=PixelData(data=view)) for view in image] for image in logits]

    views = predictions()
    merged = AveragedViews.merge_preds(None, views)
    assert merged[0] is views[0][0] and len(merged) == 2
    for sample, image in zip(merged, logits, strict=True):
        torch.testing.assert_close(sample.seg_logits.data.exp(), image.softmax(dim=1).mean(dim=0))


def by_hand(model, image: np.ndarray, sizes: list[tuple[int, int]]) -> torch.Tensor:
    import cv2

    total = torch.zeros(11, *image.shape[:2])
    for height, width in sizes:
        resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        normalized = model.backbone.normalize(torch.from_numpy(resized).permute(2, 0, 1)[None].float() / 255)
        for is_flipped in (False, True):
            view = normalized.flip(3) if is_flipped else normalized
            logits = model.inference(view, [dict(img_shape=view.shape[2:], ori_shape=view.shape[2:])])
            logits = logits.flip(3) if is_flipped else logits
            logits = F.interpolate(logits, size=image.shape[:2], mode="bilinear", align_corners=False)
            total += logits[0].softmax(dim=0)
    return total / (2 * len(sizes))


def read_labels(file: Path) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(file))


def test_the_published_views():
    for name, side in (("rn50_80k_ade20k_512", 512), ("vit_b16_80k_ade20k_640", 640)):
        views = load_config(f"denseclip/denseclip_fpn_{name}").tta_pipeline[1]["transforms"]
        ratios = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
        assert [step["scale"] for step in views[0]] == [(int(2048 * r), int(side * r)) for r in ratios]
        assert [step["prob"] for step in views[1]] == [0.0, 1.0]


def test_the_command_takes_the_weights_of_the_plain_model(clipapps_cli, tmp_path):
    write_camvid(tmp_path / "data")
    save_weights(build(load(tmp_path)).state_dict(), tmp_path / "best.safetensors")
    figures = {}
    for flags in ((), ("--tta",)):
        result = clipapps_cli("test", CONFIG, tmp_path / "best.safetensors", *flags, f"data_root={tmp_path / 'data'}",
                              "test_dataloader.num_workers=0", "test_dataloader.persistent_workers=False", *VIEWS,
                              "--out", tmp_path / "out", "--device", "cpu")
        assert result.code == 0, result.err
        figures[flags] = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert figures[()]["mIoU"] != figures[("--tta",)]["mIoU"]


def test_a_config_without_views_says_so():
    with pytest.raises(ConfigError, match="--tta needs tta_model and tta_pipeline"):
        use_test_time_augmentation(load_config("denseclip/denseclip_fpn_tiny_toyworld"))


def test_a_misspelled_key_in_the_views_is_found():
    with pytest.raises(ConfigError, match=r"tta_pipeline\.1\.transforms\.0\.0\.keep_ration"):
        load_config(CONFIG, ["tta_pipeline.1.transforms.0.0.keep_ration=True"])
