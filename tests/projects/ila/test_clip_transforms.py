"""From a video to a clip."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from PIL import Image

from clipapps.errors import BadSampleError
from clipapps.projects.ila import transforms as steps

SAMPLER = dict(type="SegmentSampler", frames=4, random=False)


def sample(frames: int = 3, height: int = 40, width: int = 60) -> dict:
    """Frames whose red and green tell the column and the row, and whose blue the frame."""
    pixels = np.zeros((frames, height, width, 3), np.uint8)
    pixels[..., 0] = np.arange(width)
    pixels[..., 1] = np.arange(height)[:, None]
    pixels[..., 2] = 50 * np.arange(frames)[:, None, None]
    return dict(frames=pixels, views=1, label=2, index=7)


def run(step, seed: int = 0, **options) -> dict:
    random.seed(seed)
    torch.manual_seed(seed)
    return step(sample(**options))


def test_load_from_an_array():
    clip = steps.LoadClip(SAMPLER)({"frames": sample(9)["frames"], "label": 1})
    assert clip["frame_indices"].tolist() == [[1, 3, 5, 7]]
    assert clip["frames"][:, 0, 0, 2].tolist() == [50, 150, 250, 350 - 256]
    assert (clip["views"], clip["label"]) == (1, 1)


def test_load_from_pictures(tmp_path):
    for number in range(12):
        Image.new("RGB", (8, 6), (20 * number, 0, 0)).save(tmp_path / f"{number}.png")  # "10" sorts before "2"
    clip = steps.LoadClip(SAMPLER)({"video_path": str(tmp_path)})
    assert [int(value) // 20 for value in clip["frames"][:, 0, 0, 0]] == clip["frame_indices"][0].tolist()
    Image.new("RGB", (9, 6)).save(tmp_path / "4.png")
    with pytest.raises(BadSampleError, match="several sizes: 8 x 6, 9 x 6"):
        steps.LoadClip(SAMPLER)({"video_path": str(tmp_path)})
    (tmp_path / "none").mkdir()
    with pytest.raises(BadSampleError, match="holds no pictures"):
        steps.LoadClip(SAMPLER)({"video_path": str(tmp_path / "none")})


def test_load_from_a_video(tmp_path):
    pytest.importorskip("av", reason="PyAV comes with the extras ila and backlit")
    from clipapps.data.video.writing import write_video

    write_video(tmp_path / "a.mp4", [np.full((32, 40, 3), 10 * number, np.uint8) for number in range(20)], fps=10)
    views = steps.LoadClip(dict(type="ViewSampler", frames=4, views=2))({"video_path": str(tmp_path / "a.mp4")})
    assert views["frames"].shape == (8, 32, 40, 3)
    assert np.abs(views["frames"].mean(axis=(1, 2, 3)) - 10 * views["frame_indices"].reshape(-1)).max() < 3
    packed = steps.PackClip()(views)
    assert packed["inputs"].shape == (2, 4, 3, 32, 40)
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(BadSampleError, match=r"a\.mp4"):
        steps.LoadClip(SAMPLER)({"video_path": str(tmp_path / "a.mp4")})


@pytest.mark.parametrize(("height", "width", "expected"), [(40, 60, (20, 30)), (60, 40, (30, 20)), (33, 47, (20, 28))])
def test_short_side(height, width, expected):
    assert steps.ResizeShortSide(20)(sample(height=height, width=width))["frames"].shape[1:3] == expected


def test_crops():
    assert steps.CropCenter(20)(sample())["frames"][0, 0, 0].tolist() == [20, 10, 0]
    three = steps.CropThree(40)(sample())
    assert three["views"] == 3
    assert three["frames"][:, 0, 0].tolist() == [[left, 0, 50 * frame] for left in (0, 20, 10) for frame in range(3)]
    tall = steps.CropThree(40)(sample(height=60, width=40))
    assert tall["frames"][::3, 0, 0, 1].tolist() == [0, 20, 10]
    assert steps.PackClip()(three)["inputs"].shape == (3, 3, 3, 40, 40)


def test_multi_scale_crops():
    seen = set()
    for seed in range(300):
        frames = run(steps.CropMultiScale(32), seed)["frames"]
        assert frames.shape == (3, 32, 32, 3)
        (left, top), right, bottom = frames[0, 0, 0, :2].astype(int), int(frames[0, 0, -1, 0]), int(frames[0, -1, 0, 1])
        seen.add((round((right - left) / 39, 1), round((bottom - top) / 39, 1), int(left > 2) + int(top > 2)))
    assert len({(wide, high) for wide, high, _ in seen}) >= 8  # 10 pairs of sides
    assert {place for _, _, place in seen} == {0, 1, 2}


@pytest.mark.parametrize("step", [steps.JitterColors(1.0), steps.GrayClip(1.0), steps.RandAugmentClip(),
                                  steps.FlipClip(1.0), steps.EraseBox(1.0)], ids=lambda step: type(step).__name__)
def test_all_frames_of_a_clip_are_changed_alike(step):
    still = np.repeat(sample(1)["frames"], 4, axis=0)
    changed = 0
    for seed in range(5):
        random.seed(seed)
        torch.manual_seed(seed)
        before = still.copy()
        frames = step(dict(frames=still, views=1))["frames"]
        assert (still == before).all()
        assert frames.dtype == np.uint8
        assert frames.shape == still.shape
        assert (frames == frames[:1]).all()
        changed += bool((frames != still).any())
    assert changed


def test_colors_may_flicker_as_in_the_released_code():
    random.seed(0)
    torch.manual_seed(0)
    frames = steps.JitterColors(1.0, per_frame=True)(dict(frames=np.full((4, 8, 8, 3), 90, np.uint8)))["frames"]
    assert len({frame.tobytes() for frame in frames}) == 4


def test_hue_is_shifted_as_torchvision_does():
    from torchvision.transforms.v2 import functional

    frames = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype(np.uint8)
    for share in (-0.4, -0.1, 0.03, 0.25):
        expected = functional.adjust_hue(steps.as_tensor(frames), share)
        off = np.abs(steps.with_hue_shifted(frames, share).astype(int) - steps.as_frames(expected))
        assert off.mean() < 2
        assert off.max() <= 12
    assert steps.with_hue_shifted(frames, 0.0) is frames


def test_ranges_of_colors():
    gray = dict(frames=np.full((2, 8, 8, 3), 100, np.uint8), views=1)
    means = []
    for seed in range(200):
        random.seed(seed)
        means.append(steps.JitterColors(1.0, contrast=0, saturation=0, hue=0)(gray)["frames"].mean())
    assert 59 <= min(means) < 65
    assert 135 < max(means) <= 140
    assert np.mean(means) == pytest.approx(100, abs=4)


@pytest.mark.parametrize("step", [steps.JitterColors(0.5), steps.GrayClip(0.5), steps.FlipClip(0.5),
                                  steps.EraseBox(0.5)], ids=lambda step: type(step).__name__)
def test_probabilities(step):
    same = sum(bool((run(step, seed)["frames"] == sample()["frames"]).all()) for seed in range(100))
    assert 30 < same < 70


def test_erased_boxes():
    color = np.rint(255 * np.array([0.485, 0.456, 0.406]))
    for seed in range(30):
        erased = (run(steps.EraseBox(1.0), seed)["frames"] == color).all(axis=3)
        assert (erased == erased[:1]).all()
        rows, columns = erased[0].any(axis=1).sum(), erased[0].any(axis=0).sum()
        assert erased[0].sum() == rows * columns  # one box
        assert 0.015 < rows * columns / 2400 < 0.36


def test_packing():
    packed = steps.PackClip()(sample())
    assert packed["inputs"].shape == (3, 3, 40, 60)
    assert packed["inputs"].dtype == torch.uint8
    assert packed["inputs"][2, :, 5, 9].tolist() == [9, 5, 100]
    assert {key: packed[key] for key in packed if key != "inputs"} == dict(label=2, index=7)
    assert steps.PackClip(keep_views=True)(sample())["inputs"].shape == (1, 3, 3, 40, 60)
