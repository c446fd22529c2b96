"""Videos in and out: times, sound, rotation and colors stay; a damaged file or a stop leaves nothing behind."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from clipapps.cli.main import main
from clipapps.data.video import VideoReader
from clipapps.projects.backlit.inferencer import BacklitInferencer

av = pytest.importorskip("av", reason="videos take PyAV")

TIMES = [0, 40, 80, 200, 240, 280, 500, 540, 580, 620]  # milliseconds: a variable frame rate
HEIGHT, WIDTH = 48, 64


def pictures() -> list[np.ndarray]:
    ramp = np.tile(np.linspace(20, 110, WIDTH), (HEIGHT, 1))
    frames = [np.repeat((ramp + 3 * number).astype(np.uint8)[..., None], 3, axis=2) for number in range(len(TIMES))]
    for frame in frames:
        frame[:16, :16] = (110, 20, 20)  # says what is up, left, and red
    return frames


def film(path: Path, *, sound: str | None = "aac", rotation: int | None = None, size: tuple[int, int] | None = None,
         ratio: Fraction | None = None, matrix: int | None = None) -> Path:
    """A film of ten frames with a tone of one second."""
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "a film"
        picture = container.add_stream("libx264", rate=25, options=dict(crf="4"))
        picture.height, picture.width = size or (HEIGHT, WIDTH)
        picture.pix_fmt, picture.codec_context.time_base = "yuv444p", Fraction(1, 1000)
        if ratio is not None:
            picture.codec_context.sample_aspect_ratio = ratio
        if matrix is not None:
            picture.pix_fmt, picture.codec_context.colorspace = "yuv420p", matrix
        if rotation is not None:
            picture.set_display_rotation(rotation)
        tone = container.add_stream(sound, rate=48000) if sound else None
        for content, time in zip(pictures(), TIMES, strict=True):
            if size is not None:
                content = np.ascontiguousarray(content[:size[0], :size[1]])
            frame = av.VideoFrame.from_ndarray(content, format="rgb24")
            if matrix is not None:
                frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709" if matrix == 1 else "ITU601")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(picture.encode(frame))
        container.mux(picture.encode())
        if tone is not None:
            wave = (np.sin(np.arange(48000) / 20) * 8000).astype(np.int16)[None]
            samples = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
            samples.sample_rate, samples.pts = 48000, 0
            container.mux(tone.encode(samples))
            container.mux(tone.encode())
    return path


def packets(path: Path, kind: str) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as container:
        return [(float(packet.pts * packet.time_base), bytes(packet)) for packet in container.demux(**{kind: 0})
                if packet.pts is not None]


def frames_of(path: Path) -> tuple[list[float], np.ndarray]:
    with VideoReader(path, backend="av") as video:
        times, frames = zip(*video.stream(), strict=True)
    return list(times), np.stack(frames)


@pytest.fixture
def unchanged(weights: Path) -> BacklitInferencer:
    """Leaves every frame as it is."""
    return BacklitInferencer(weights, strength=0.0, map_side=16)


@pytest.mark.parametrize(("name", "sound", "written"), [
    ("film.mp4", "aac", "film.mp4"), ("film.mkv", "flac", "film.mkv"), ("film.avi", "pcm_s16le", "film.mkv"),
    ("film.mov", None, "film.mov")])
def test_times_and_sound_stay(unchanged: BacklitInferencer, tmp_path: Path, name: str, sound: str | None, written: str):
    source = film(tmp_path / name, sound=sound)
    path, facts = unchanged(source).save(tmp_path / "out")
    assert path.name == written
    (before, old), (after, new) = frames_of(source), frames_of(path)
    assert after == pytest.approx(before, abs=2e-3)  # Matroska counts milliseconds
    assert len(after) == len(TIMES)
    assert np.abs(old.astype(int) - new).mean() < 2.5
    if sound:
        heard, kept = packets(source, "audio"), packets(path, "audio")
        assert [content for _, content in kept] == [content for _, content in heard]
        shifts = [time - before for (time, _), (before, _) in zip(kept, heard, strict=True)]
        picture_shift = packets(path, "video")[0][0] - packets(source, "video")[0][0]
        assert shifts == pytest.approx([picture_shift] * len(shifts), abs=2e-3)
    assert json.loads(facts.read_text())["frames"] == len(TIMES)
    assert not list((tmp_path / "out").glob("*tmp*"))


@pytest.mark.parametrize("matrix", [1, 5])
def test_colors_stay_in_high_and_standard_definition(unchanged: BacklitInferencer, tmp_path: Path, matrix: int):
    (path, _) = unchanged(film(tmp_path / "film.mp4", matrix=matrix)).save(tmp_path / "out")
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.colorspace == matrix
    assert np.abs(frames_of(path)[1][0, 4:12, 4:12].mean(axis=(0, 1)) - (110, 20, 20)).max() < 4


def test_frames_become_brighter(weights: Path, tmp_path: Path):
    source = film(tmp_path / "film.mp4")
    (path, _) = BacklitInferencer(weights, map_side=16)(source).save(tmp_path / "out")
    (_, old), (_, new) = frames_of(source), frames_of(path)
    assert new.mean() == pytest.approx(2 * old.mean(), rel=0.1)


@pytest.mark.parametrize(("rotation", "corner"), [(90, (-1, 0)), (180, (-1, -1)), (-90, (0, -1))])
def test_rotated_films_are_written_upright(unchanged: BacklitInferencer, tmp_path: Path, rotation: int,
                                           corner: tuple[int, int]):
    (path, _) = unchanged(film(tmp_path / "film.mp4", rotation=rotation)).save(tmp_path / "out")
    _, frames = frames_of(path)
    assert frames.shape[1:3] == ((WIDTH, HEIGHT) if rotation % 180 else (HEIGHT, WIDTH))
    rows, columns = (slice(2, 12) if place == 0 else slice(-12, -2) for place in corner)
    red, green, _ = frames[0, rows, columns].reshape(-1, 3).mean(axis=0)
    assert red > 90 and green < 40


def test_pixels_that_are_not_square_stay_so(unchanged: BacklitInferencer, tmp_path: Path):
    (path, _) = unchanged(film(tmp_path / "film.mp4", ratio=Fraction(4, 3))).save(tmp_path / "out")
    with av.open(str(path)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
        assert container.metadata["title"] == "a film"


def test_odd_sides_get_one_pixel_more(unchanged: BacklitInferencer, tmp_path: Path):
    (path, _) = unchanged(film(tmp_path / "film.mp4", size=(47, 63))).save(tmp_path / "out")
    assert frames_of(path)[1].shape[1:3] == (48, 64)


def test_a_stop_leaves_nothing_and_a_second_run_goes_on(weights: Path, tmp_path: Path,
                                                        monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "films").mkdir()
    for name in ("a.mp4", "b.mp4"):
        film(tmp_path / "films" / name)
    words = ["predict", "backlit", str(tmp_path / "films"), "--weights", str(weights), "--out", str(tmp_path / "out"),
             "--map-side", "16", "--device", "cpu"]
    enhance, seen = BacklitInferencer.enhance_frame, []

    def stops(self, frame, time, *rest):
        seen.append(time)
        if len(seen) == len(TIMES) + 4:
            raise KeyboardInterrupt
        return enhance(self, frame, time, *rest)

    monkeypatch.setattr(BacklitInferencer, "enhance_frame", stops)
    assert main(words) == 130
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"a.mp4", "a.json", "predictions.jsonl"}
    assert main(words) == 0 and len(seen) == 2 * len(TIMES) + 4
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"a.mp4", "a.json", "b.mp4", "b.json",
                                                                    "predictions.jsonl"}


def test_a_damaged_film_is_reported_and_the_others_are_done(weights: Path, tmp_path: Path,
                                                            capsys: pytest.CaptureFixture[str]):
    content = film(tmp_path / "good.mp4").read_bytes()
    (tmp_path / "bad.mp4").write_bytes(content[:len(content) // 2])
    (tmp_path / "text.mp4").write_text("no film")
    assert main(["predict", "backlit", str(tmp_path), "--weights", str(weights), "--out", str(tmp_path / "out"),
                 "--map-side", "16", "--device", "cpu"]) == 2
    said = capsys.readouterr().err
    assert "2 of 3 inputs could not be used" in said and "bad.mp4" in said and "text.mp4" in said
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"good.mp4", "good.json", "predictions.jsonl"}
