"""Photos in and out: sizes, metadata, alpha, gray, limits, and no source is ever replaced."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

import clipapps
from clipapps.errors import UserError, WeightsError
from clipapps.projects.backlit.deep_color import encode_png
from clipapps.projects.backlit.inferencer import BacklitInferencer

ORIENTATION, ARTIST = 0x0112, 0x013B


@pytest.fixture
def gradient() -> np.ndarray:
    rows, columns = np.mgrid[0:24, 0:40]
    return np.stack([4 * rows, 3 * columns, rows + columns], axis=2).astype(np.uint8)


def test_one_call_brightens_an_array(weights: Path, gradient: np.ndarray):
    result = clipapps.load("backlit", weights, device="cpu")(gradient)[0]
    assert result.enhanced.shape == gradient.shape
    assert result.enhanced.mean() == pytest.approx(2 * gradient.mean(), rel=0.1)
    assert result.plot().shape[1] > 2 * gradient.shape[1]


@pytest.mark.parametrize(("options", "ratio"), [(dict(strength=0), 1.0), (dict(strength=0.5), 2**0.5),
                                                (dict(max_gain=1.25), 1.25), (dict(strength=1.5), 2**1.5),
                                                (dict(strength=2, max_gain=1.25), 1.25)])
def test_strength_and_gain(weights: Path, gradient: np.ndarray, options: dict, ratio: float):
    result = BacklitInferencer(weights, **options)(gradient // 4)[0]
    assert result.enhanced.mean() == pytest.approx(ratio * (gradient // 4).mean(), rel=0.05)


def test_protected_highlights_keep_their_hue(weights: Path):
    reddish = np.full((16, 16, 3), (200, 150, 100), np.uint8)
    cut_off = BacklitInferencer(weights)(reddish)[0].enhanced[8, 8]
    assert cut_off[0] == cut_off[1] == 255  # twice as bright: yellow instead of red
    protected = BacklitInferencer(weights, protect_highlights=True)(reddish)[0].enhanced[8, 8]
    assert np.abs(protected - np.array([255, 150 * 255 / 200, 100 * 255 / 200])).max() <= 1


def test_a_jpeg_is_turned_upright_and_keeps_profile_and_metadata(weights: Path, gradient: np.ndarray, tmp_path: Path):
    exif = Image.Exif()
    exif[ORIENTATION], exif[ARTIST] = 6, "someone"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(gradient).save(tmp_path / "photo.jpg", exif=exif, icc_profile=profile, quality=95)
    (path, facts) = BacklitInferencer(weights)(tmp_path / "photo.jpg").save(tmp_path / "out")
    with Image.open(path) as image:
        assert image.format == "JPEG" and image.size == (24, 40)
        assert image.getexif().get(ORIENTATION, 1) == 1 and image.getexif()[ARTIST] == "someone"
        assert image.info["icc_profile"] == profile
    assert json.loads(facts.read_text())["size"] == [40, 24]


def test_alpha_and_gray_stay_what_they_are(weights: Path, gradient: np.ndarray, tmp_path: Path):
    alpha = np.arange(24 * 40).reshape(24, 40).astype(np.uint8)
    Image.fromarray(np.dstack([gradient, alpha])).save(tmp_path / "cutout.png")
    Image.fromarray(gradient[..., 1]).save(tmp_path / "gray.png")
    results = BacklitInferencer(weights)([tmp_path / "cutout.png", tmp_path / "gray.png"])
    results.save(tmp_path / "out")
    with Image.open(tmp_path / "out" / "cutout.png") as image:
        assert image.mode == "RGBA" and np.array_equal(np.asarray(image)[..., 3], alpha)
    with Image.open(tmp_path / "out" / "gray.png") as image:
        assert image.mode == "L"
    assert np.array_equal(results[0].image, gradient)  # straight colors, not composed over white


def test_a_source_is_never_replaced(weights: Path, gradient: np.ndarray, tmp_path: Path):
    Image.fromarray(gradient).save(tmp_path / "photo.png")
    before = (tmp_path / "photo.png").read_bytes()
    paths = BacklitInferencer(weights)(tmp_path).save(tmp_path)
    assert (tmp_path / "photo.png").read_bytes() == before
    assert [path.name for path in paths] == ["photo_enhanced.png", "photo_enhanced.json"]


def test_wrong_values_and_missing_weights_are_refused(weights: Path):
    with pytest.raises(UserError, match="between 0 and 2"):
        BacklitInferencer(weights, strength=2.1)
    with pytest.raises(UserError, match="at least 1"):
        BacklitInferencer(weights, max_gain=0.5)
    with pytest.raises(UserError, match="smoothing"):
        BacklitInferencer(weights, smoothing=-1)


def test_without_shipped_weights_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("clipapps.project.Project.shipped_weights", lambda self: None)
    with pytest.raises(WeightsError, match="convert a published checkpoint"):
        BacklitInferencer()


def test_a_map_of_a_smaller_copy_is_near_the_exact_one(weights: Path):
    ramp = np.repeat(np.tile(np.linspace(20, 200, 96, dtype=np.uint8), (80, 1))[..., None], 3, axis=2)
    exact, fast = (BacklitInferencer(weights, map_side=side)(ramp)[0] for side in (None, 32))
    assert fast.light_map.shape == exact.light_map.shape
    assert 0 < np.abs(fast.light_map - exact.light_map).max() < 0.01


def test_16_bits_are_divided_in_16_bits(weights: Path, tmp_path: Path):
    deep = np.full((20, 30, 3), 3001, np.uint16)
    (tmp_path / "deep.png").write_bytes(encode_png(deep, None, None))
    result = BacklitInferencer(weights)(tmp_path / "deep.png")[0]
    expected = 3001 / result.light_map
    assert np.abs(result.enhanced - expected[..., None]).max() <= 0.51
    assert len(np.unique(result.enhanced)) > 1 and result.image.dtype == result.plot().dtype == np.uint8


def test_the_command_line(weights: Path, gradient: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture):
    from clipapps.cli.main import main

    Image.fromarray(gradient).save(tmp_path / "photo.png")
    arguments = ["predict", "backlit", str(tmp_path / "photo.png"), "--weights", str(weights), "--out",
                 str(tmp_path / "out"), "--strength", "0", "--device", "cpu"]
    assert main(arguments) == 0
    with Image.open(tmp_path / "out" / "photo.png") as image:
        assert np.array_equal(np.asarray(image), gradient)


def test_an_iterator_of_files_keeps_their_metadata(tmp_path: Path) -> None:
    for name in ("a", "b"):
        photo = Image.new("RGB", (40, 30), (60, 50, 40))
        photo.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        photo.save(tmp_path / f"{name}.jpg", icc_profile=photo.info["icc_profile"])
    results = list(clipapps.load("backlit").stream(iter([tmp_path / "a.jpg", tmp_path / "b.jpg"])))
    assert [result.name for result in results] == ["000000_a", "000001_b"]
    saved, _ = results[0].save(tmp_path / "out")
    assert saved.name == "000000_a.jpg" and Image.open(saved).info["icc_profile"]
