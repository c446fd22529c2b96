"""Films of the toy world as real video files: written once, read like anybody's."""

from __future__ import annotations

import multiprocessing

import numpy as np
import pytest

pytest.importorskip("av", reason="PyAV comes with the extras ila and backlit")

from clipapps.data.video import VideoReader  # noqa: E402
from clipapps.errors import ConfigError  # noqa: E402
from clipapps.toyworld import MOTIONS, ToyWorldVideoFiles, ToyWorldVideos, write_film  # noqa: E402
from clipapps.toyworld.videos import cache_folder  # noqa: E402

OPTIONS = dict(num_videos=4, frames=10, size=64)


def test_files_hold_the_films(tmp_path):
    files, drawn = ToyWorldVideoFiles(**OPTIONS, folder=tmp_path), ToyWorldVideos(**OPTIONS)
    assert len(files) == 4
    for index in (0, 3):
        info = files[index]
        assert (info["label"], info["index"], info["sample_idx"]) == (index, index, index)
        with VideoReader(info["video_path"]) as video:
            assert len(video) == 10
            assert video.fps == pytest.approx(5)
            frames = video.read(range(10)).astype(int)
        expected = drawn[index]["inputs"].numpy().transpose(0, 2, 3, 1)
        assert np.abs(frames - expected).mean() < 6  # compressed, with half the resolution of color
    assert files.metainfo["classes"] == MOTIONS
    [folder] = tmp_path.iterdir()
    assert (folder / "labels.csv").read_text().splitlines()[:2] == ["id,name", "0,moves left"]


def test_files_are_written_once(tmp_path):
    ToyWorldVideoFiles(**OPTIONS, folder=tmp_path)
    [folder] = tmp_path.iterdir()
    before = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    ToyWorldVideoFiles(**OPTIONS, folder=tmp_path)
    assert {file: file.stat().st_mtime_ns for file in folder.iterdir()} == before
    for other in (dict(seed=1), dict(split="val"), dict(classes=MOTIONS[:2]), dict(spec=dict(dark=0.5))):
        ToyWorldVideoFiles(**{**OPTIONS, "num_videos": 1, "frames": 2, **other}, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 5


def _write(folder: str) -> int:
    return len(ToyWorldVideoFiles(**OPTIONS, folder=folder))


def test_two_processes_at_once(tmp_path):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(_write, [str(tmp_path)] * 2, chunksize=1) == [4, 4]
    [folder] = tmp_path.iterdir()
    assert len(list(folder.glob("*.mp4"))) == 4


def test_nothing_half_written_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(ToyWorldVideos, "motion", lambda self, index: 1 / 0 if index else None)
    with pytest.raises(AttributeError):
        ToyWorldVideoFiles(**OPTIONS, folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("CLIPAPPS_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path / "toyworld_videos"


def test_one_film_of_a_motion(tmp_path):
    film = write_film(tmp_path / "film.mp4", "moves right", size=96, frames=12, seconds=1.5)
    with VideoReader(film) as video:
        assert (len(video), video.fps) == (12, pytest.approx(8))
        frames = video.read(range(12)).astype(int)
    assert frames.shape == (12, 96, 96, 3)
    change = np.abs(frames[[0, -1]] - np.median(frames, axis=0)).sum(axis=-1)  # where the object is, at both ends
    first, last = ((part * np.arange(96)).sum() / part.sum() for part in np.where(change > 90, change, 0))
    assert last - first > 0.3 * 96
    again, other = write_film(tmp_path / "b.mp4", "moves right", size=96, frames=12, seconds=1.5), tmp_path / "c.mp4"
    write_film(other, "moves right", 1, size=96, frames=12, seconds=1.5)
    assert film.read_bytes() == again.read_bytes() != other.read_bytes()
    with pytest.raises(ConfigError, match="Did you mean 'moves right'"):
        write_film(other, "move right")
