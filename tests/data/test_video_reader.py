"""Videos by frame number and as a stream: the right frames, or one error that names the file."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av", reason="PyAV comes with the extras ila and backlit")

from clipapps.data.video import VideoReader, read_frames  # noqa: E402
from clipapps.data.video import process as processes  # noqa: E402
from clipapps.data.video.integrity import end_of_chain, length_size, units_complaint  # noqa: E402
from clipapps.data.video.writing import write_video  # noqa: E402
from clipapps.errors import BadSampleError, UserError  # noqa: E402

COUNT, WIDTH, HEIGHT = 24, 80, 64


def pictures(count: int = COUNT) -> list[np.ndarray]:
    """A gray ground that gets brighter by 6 levels a frame, with a red corner at the upper left and some texture."""
    texture = np.random.default_rng(0).integers(0, 30, (HEIGHT // 4, WIDTH // 4)).repeat(4, 0).repeat(4, 1)
    frames = []
    for number in range(count):
        frame = np.clip(60 + 6 * number + np.roll(texture, 2 * number, 1), 0, 255).astype(np.uint8)
        frames.append(np.repeat(frame[..., None], 3, axis=2))
        frames[-1][:16, :16] = (220, 20, 20)
    return frames


def encode(path: Path, frames: list[np.ndarray], codec: str = "libx264", times: list[int] | None = None,
           rotation: int | None = None, tags: dict[str, int] | None = None, **options: str) -> Path:
    """A video with times in milliseconds (40 apart if not given); `tags` tell what its colors mean."""
    with av.open(str(path), "w", options=dict(movflags="faststart") if path.suffix == ".mp4" else {}) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for name, value in (tags or {}).items():
            setattr(stream.codec_context, name, value)
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, content in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(content, format="rgb24")
            for name, value in (tags or {}).items():
                setattr(frame, name, value)
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    """24 frames, B-frames, a key frame every 8 frames, the index in front."""
    return encode(tmp_path_factory.mktemp("video") / "a b.mp4", pictures(), g="8", bf="2", crf="8")


def differences(frames: np.ndarray, numbers: list[int]) -> list[float]:
    """Mean absolute difference of each frame to what was drawn under its number."""
    drawn = pictures()
    return [float(np.abs(frame.astype(int) - drawn[number]).mean()) for frame, number in
            zip(frames, numbers, strict=True)]


@pytest.mark.parametrize("backend", ["auto", "decord", "av"])
def test_frames_by_number(video, backend):
    numbers = [17, 3, 3, 0, 23, 9]
    with VideoReader(video, backend=backend) as reader:
        assert len(reader) == COUNT
        assert reader.fps == pytest.approx(25)
        assert reader.size == (WIDTH, HEIGHT)
        assert not reader.has_audio
        assert reader.duration == pytest.approx(COUNT / 25)
        frames = reader.read(numbers)
    assert frames.shape == (6, HEIGHT, WIDTH, 3)
    assert frames.dtype == np.uint8
    assert max(differences(frames, numbers)) < 3  # one frame further would be 6


@pytest.mark.parametrize(("suffix", "codec"), [(".mkv", "libx264"), (".webm", "libvpx-vp9"), (".avi", "mpeg4"),
                                               (".mp4", "libx265"), (".mov", "mpeg4")])
def test_containers_and_codecs(tmp_path, suffix, codec):
    path = encode(tmp_path / f"a{suffix}", pictures(), codec, b="2000000", **{"x265-params": "log-level=none"})
    with VideoReader(path) as reader:
        assert len(reader) == COUNT
        assert max(differences(reader.read(range(COUNT)), list(range(COUNT)))) < 3
        assert sum(1 for _ in reader.stream()) == COUNT


@pytest.mark.parametrize("tags", [{}, dict(colorspace=1, color_primaries=1, color_trc=1), dict(color_range=2)],
                         ids=["untagged", "bt709", "full range"])
def test_decoders_agree(tmp_path, tags):
    path = encode(tmp_path / "a.mp4", pictures(8), tags=tags)
    by_decord, by_av = (read_frames(path, range(8), backend=backend) for backend in ("decord", "av"))
    assert (by_decord == by_av).all()
    assert max(differences(by_av, list(range(8)))) < 4


@pytest.mark.parametrize("width", [16, 48, 96])
def test_widths_at_which_decord_fails(tmp_path, width):
    frames = [np.full((32, width, 3), 40 + 20 * number, np.uint8) for number in range(4)]
    path = encode(tmp_path / "a.mp4", frames)
    assert np.abs(read_frames(path, range(4)).astype(int) - np.stack(frames)).max() <= 3


@pytest.mark.parametrize(("rotation", "corner"), [(90, (-1, 0)), (180, (-1, -1)), (-90, (0, -1))])
def test_rotation_is_applied(tmp_path, rotation, corner):
    path = encode(tmp_path / "a.mp4", pictures(4), rotation=rotation)
    with VideoReader(path) as reader:
        frame = reader.read([1])[0]
        assert reader.size == (frame.shape[1], frame.shape[0]) == (
            (HEIGHT, WIDTH) if rotation % 180 else (WIDTH, HEIGHT))
        assert frame[corner][0] > 180 > 60 > frame[corner][1]  # the red corner
        assert (next(reader.stream())[1].shape) == frame.shape


def test_variable_frame_rate(tmp_path):
    times = np.cumsum([0] + [20 + 60 * (number % 3) for number in range(COUNT - 1)]).tolist()
    path = encode(tmp_path / "a.mp4", pictures(), times=times)
    with VideoReader(path) as reader:
        assert max(differences(reader.read([5, 20]), [5, 20])) < 3
        streamed = list(reader.stream())
    assert [round(1000 * seconds) for seconds, _ in streamed] == times
    assert max(differences(np.stack([frame for _, frame in streamed]), list(range(COUNT)))) < 3


def test_part_of_a_stream(video):
    with VideoReader(video) as reader:
        part = list(reader.stream(start=0.2, end=0.4))
    assert [round(seconds * 25) for seconds, _ in part] == [5, 6, 7, 8, 9]
    assert max(differences(np.stack([frame for _, frame in part]), [5, 6, 7, 8, 9])) < 3


def test_write_video(tmp_path):
    write_video(tmp_path / "a.mp4", iter(pictures()), fps=12.5)
    with VideoReader(tmp_path / "a.mp4") as reader:
        assert reader.fps == pytest.approx(12.5)
        assert max(differences(reader.read(range(COUNT)), list(range(COUNT)))) < 4
    with pytest.raises(ValueError, match="ndim"):
        write_video(tmp_path / "b.mp4", iter([pictures(1)[0], np.zeros(3, np.uint8)]), fps=25)
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


# ---- files that are no videos, or damaged ---------------------------------------------------------------------


def fails(path: Path, words: str) -> None:
    """Opening and counting fails with one error that names the file."""
    with pytest.raises(BadSampleError, match=words) as caught:
        len(VideoReader(path))
    assert str(path) in str(caught.value)


def test_no_videos(tmp_path, video):
    fails(tmp_path / "a.mp4", "no file")
    (tmp_path / "a.mp4").write_bytes(b"")
    fails(tmp_path / "a.mp4", "is empty")
    (tmp_path / "a.mp4").write_text("no video\n" * 100)
    fails(tmp_path / "a.mp4", "no video that is read here")
    (tmp_path / "a.mp4").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{video}\n#EXT-X-ENDLIST\n")
    fails(tmp_path / "a.mp4", "no video that is read here")  # a play list would open other files
    with av.open(str(tmp_path / "b.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    fails(tmp_path / "b.mp4", "no video stream")


def test_pixels_are_limited_before_decoding(video):
    with pytest.raises(BadSampleError, match="80 x 64 pixels; at most 5,000"):
        len(VideoReader(video, max_pixels=5000))


def test_a_number_that_is_not_there(video):
    with pytest.raises(BadSampleError, match="has 24 frames, so there is no frame 24"):
        read_frames(video, [0, 24])
    with pytest.raises(BadSampleError, match="no frame -1"):
        read_frames(video, [-1])


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_the_index_promises_frames_that_are_cut_off(tmp_path, video, share):
    content = video.read_bytes()
    (tmp_path / "a.mp4").write_bytes(content[:int(share * len(content))])
    with VideoReader(tmp_path / "a.mp4") as reader:
        count = len(reader)
        assert COUNT // 4 < count < COUNT
        numbers = [number for number in range(count) if is_readable(reader, number)]
        assert max(differences(reader.read(numbers), numbers)) < 3
    assert len(numbers) >= count - 2  # frames that are shown before the cut one may depend on it


def is_readable(reader: VideoReader, number: int) -> bool:
    try:
        reader.read([number])
    except BadSampleError:
        return False
    return True


def packet_places(path: Path) -> list[tuple[int, int]]:
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


@pytest.mark.parametrize("overwriting", [b"\0", b"\xa5"])
def test_damage_spoils_frames_up_to_the_next_key_frame(tmp_path, video, overwriting):
    content = bytearray(video.read_bytes())
    place, size = packet_places(video)[9]  # the second group of 8 frames begins with packet 8
    content[place + size // 2:place + size // 2 + 40] = overwriting * 40
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with VideoReader(path) as reader:
        assert len(reader) == COUNT
        good = [0, 3, 6, 8, 16, 20, 23]  # an H.264 decoder loses frame 7 with the damaged one: an error, too
        assert max(differences(reader.read(good), good)) < 3
        with pytest.raises(BadSampleError, match=r"a\.mp4 is damaged at frame 1\d of 24"):
            reader.read([0, 15])
        with pytest.raises(BadSampleError, match="is damaged at 0"):
            list(reader.stream())


def test_overwritten_units():
    assert length_size("h264", bytes([1, 100, 0, 31, 0xFF, 0xE1, 0])) == 4
    assert length_size("h264", bytes([0, 0, 0, 1, 0x67, 0, 0])) == length_size("vp9", None) == 0
    unit = bytes([0x65, 7, 0, 0, 3, 9])
    assert units_complaint(len(unit).to_bytes(4, "big") + unit, 4) == ""
    assert units_complaint((len(unit) + 1).to_bytes(4, "big") + unit, 4) == "its data are longer than they can be"
    for size, codec, content, is_found in (
            (2, "h264", [0x41, 0, 0, 1, 7], True), (2, "h264", [0x06, 0, 0, 1, 7], False),  # a picture; what goes along
            (1, "hevc", [0x26, 1, 0, 0, 0, 7], True), (1, "hevc", [0x4E, 1, 0, 0, 0, 7], False),
            (1, "h264", [0x41, 9, 0, 0, 0], False), (1, "h264", [0x41, 9, 0, 0, 0, 0], True),  # padded; overwritten
            (1, "h264", [0, 0, 0, 0], True)):
        packet = len(content).to_bytes(size, "big") + bytes(content)
        assert ("overwritten" in units_complaint(packet, size, codec)) == is_found, content


@pytest.mark.parametrize(("name", "codec", "kind"), [("a.avi", "mpeg4", "avi"), ("a.mkv", "mpeg4", "matroska,webm"),
                                                     ("a.webm", "libvpx-vp9", "matroska,webm")])
def test_parts_that_do_not_follow_one_another(tmp_path, name, codec, kind):
    path = encode(tmp_path / name, pictures(), codec, b="2000000")
    assert end_of_chain(path, kind) is None
    content = path.read_bytes()
    place, size = packet_places(path)[12]
    for damaged in (content[:place + size - 30] + bytes(40) + content[place + size + 10:],  # overwritten
                    content[:place + 20] + content[place + 40:]):  # missing
        path.write_bytes(damaged)
        assert place - 32 < end_of_chain(path, kind) <= place
        with VideoReader(path) as reader:
            assert max(differences(reader.read([0, 5, 10]), [0, 5, 10])) < 3
            with pytest.raises(BadSampleError, match="damaged"):
                reader.read([len(reader) - 1])
    path.write_bytes(content[:place + 20])
    assert end_of_chain(path, kind) is None  # it just ends
    assert end_of_chain(path, "mov,mp4") is None


def mutated(content: bytes, seed: int) -> bytes:
    """A copy that is cut, overwritten with noise or zeros, or lacks a part; a function of the seed alone."""
    draw = random.Random(seed)
    copy = bytearray(content)
    place = draw.randrange(len(copy))
    length = min(draw.choice([1, 16, 64, 256, 2000]), len(copy) - place)
    if seed % 4 == 0:
        del copy[place:]
    elif seed % 4 == 1:
        for _ in range(draw.choice([1, 4, 16])):
            copy[draw.randrange(len(copy))] = draw.randrange(256)
    elif seed % 4 == 2:
        copy[place:place + length] = bytes(length)
    else:
        del copy[place:place + length]
    return bytes(copy)


def check_mutations(path: Path, seeds: range, folder: Path) -> dict[str, int]:
    """Every copy ends in the frames of the whole file or in an error that names it; returns how many ended how."""
    content, outcomes = path.read_bytes(), dict(right=0, error=0)
    with VideoReader(path) as reader:
        whole = reader.read(range(len(reader))).astype(int)
    for seed in seeds:
        copy = folder / f"{seed}{path.suffix}"
        copy.write_bytes(mutated(content, seed))
        started = time.monotonic()
        try:
            with VideoReader(copy) as reader:
                numbers = np.linspace(0, len(reader) - 1, 8).round().astype(int)
                frames = reader.read(numbers)
        except BadSampleError as error:
            assert str(copy) in str(error)
            outcomes["error"] += 1
        else:
            assert len(reader) <= len(whole) + 1, seed
            off = [np.abs(frame - whole[min(number, len(whole) - 1)]).mean() for frame, number in
                   zip(frames, numbers, strict=True)]
            assert max(off) < 0.5, f"copy {seed}: frames differ by {max(off):.1f}"
            outcomes["right"] += 1
        assert time.monotonic() - started < 20
        copy.unlink()
    return outcomes


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.avi", "mpeg4"), ("a.mkv", "libx264")])
def test_mutated_copies(tmp_path, name, codec):
    path = encode(tmp_path / name, pictures(), codec, g="8")
    outcomes = check_mutations(path, range(6), tmp_path)
    assert sum(outcomes.values()) == 6
    assert outcomes["error"]


# ---- decoders that crash or hang --------------------------------------------------------------------------------


def test_the_child_is_kept(video):
    read_frames(video, [0])
    [before] = [process.pid for process in processes.pool._idle[-1:]]
    read_frames(video, [1])
    assert processes.pool._idle[-1].pid == before


def test_a_stream_left_early_leaves_no_child_behind(video):
    frames = VideoReader(video).stream()
    next(frames)
    children = len(processes.pool._idle)
    frames.close()
    assert len(processes.pool._idle) == children
    assert max(differences(read_frames(video, [2]), [2])) < 3


@pytest.mark.parametrize(("number", "words"), [(signal.SIGKILL, "crashed: it ended by SIGKILL"),
                                               (signal.SIGSTOP, "hung: no sign of life for 0.5 s")])
def test_a_crash_and_a_hang_are_named_and_the_child_is_replaced(video, number, words):
    stream = VideoReader(video, patience=0.5).stream()
    next(stream)
    processes.pool.close()
    child = newest_child()
    os.kill(child, number)
    with pytest.raises(BadSampleError, match=f"a b.mp4 cannot be decoded: the decoder {words}"):
        for _ in range(10 * COUNT):
            next(stream)
    assert not Path(f"/proc/{child}").exists()
    assert max(differences(read_frames(video, [2]), [2])) < 3


def newest_child() -> int:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return max(int(child) for child in children if b"clipapps.data.video.child" in
               Path(f"/proc/{child}/cmdline").read_bytes())


def test_an_idle_child_that_died_is_replaced(video):
    read_frames(video, [0])
    for process in processes.pool._idle:
        os.kill(process.pid, signal.SIGKILL)
    time.sleep(0.1)
    assert max(differences(read_frames(video, [2]), [2])) < 3


@pytest.fixture
def own_children() -> Iterator[None]:
    """Children that are started in the test, and end with it."""
    processes.pool.close()
    yield
    processes.pool.close()


def _in_worker(path: str) -> float:
    return float(read_frames(path, [3]).mean())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_data_workers_have_children_of_their_own(video, method):
    expected = _in_worker(str(video))
    with multiprocessing.get_context(method).Pool(1) as workers:  # daemons, as a loader's workers are
        assert workers.apply_async(_in_worker, (str(video),)).get(timeout=100) == expected


def test_threads(video):
    found: dict[int, float] = {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: differences(read_frames(video, [n]), [n])[0]}))
               for n in (1, 5, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert max(found.values()) < 3


def test_a_child_ends_with_its_parent(video):
    script = ("import sys, os\nfrom clipapps.data.video import VideoReader, process\n"
              f"len(VideoReader({str(video)!r}))\nprint(process.pool._idle[0].pid, flush=True)\nos._exit(9)")
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100)
    child = int(answer.stdout)
    deadline = time.monotonic() + 20
    while Path(f"/proc/{child}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{child}").exists()


def test_a_missing_library_is_told(tmp_path, video, monkeypatch, own_children):
    (tmp_path / "av.py").write_text("raise ImportError('there is no av here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(UserError, match=r'pip install "clipapps\[ila\]" \(there is no av here\)'):
        len(VideoReader(video))


def test_without_decord_everything_is_read_by_pyav(tmp_path, video, monkeypatch, own_children):
    (tmp_path / "decord.py").write_text("raise ImportError('there is no decord here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert max(differences(read_frames(video, [4]), [4])) < 3
    with pytest.raises(UserError, match="there is no decord here"):
        read_frames(video, [4], backend="decord")


@pytest.mark.parametrize(("fault", "words"), [("time.sleep(1000)", "hung: no sign of life"),
                                              ("os.kill(os.getpid(), signal.SIGSEGV)", "crashed: it ended by SIGSEGV")])
def test_what_decord_hangs_or_crashes_over_is_read_by_pyav(tmp_path, video, monkeypatch, own_children, fault, words):
    (tmp_path / "decord.py").write_text(
        "import os, signal, time\nclass DECORDError(Exception): pass\nclass logging: INFO, set_level = 0, print\n"
        f"VideoReader = None\ndef cpu(number): {fault}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert max(differences(read_frames(video, [4, 9], patience=1.0), [4, 9])) < 3
    with pytest.raises(BadSampleError, match=f"cannot be decoded: the decoder {words}"):
        read_frames(video, [4], backend="decord", patience=1.0)


# ---- real files, where they are ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(shared) -> Path:
    """Real videos of the shared development data."""
    folder = shared / "data" / "ila"
    if not folder.is_dir():
        pytest.skip(f"there are no videos in {folder}")
    return folder


def test_real_videos(real):
    for name, expected in json.loads((real / "expected.json").read_text())["videos"].items():
        with VideoReader(real / "videos" / name) as reader:
            assert len(reader) == expected["num_frames"], name
            assert reader.size == (expected["width"], expected["height"])
            assert reader.fps == pytest.approx(expected["fps"], abs=0.01)
            means = reader.read(expected["uniform8"]).mean(axis=(1, 2))
        assert np.abs(means - expected["mean_rgb"]).max() < 1.5, name


BROKEN = {"empty.mp4": "is empty", "text.mp4": "no video that is read", "audio_only.mp4": "has no video stream",
          "trunc50_moov_at_end.mp4": "no video that is read", "corrupt_middle.mp4": "is damaged at frame"}
# The expected numbers count the last packet, which is cut in half (and in the AVI file spoils the one before it).
SHORTENED = {"trunc50_faststart.mp4": (140, 1), "trunc50.avi": (77, 2), "one_frame.mp4": (1, 0)}


def test_real_broken_files(real):
    assert set(BROKEN) | set(SHORTENED) == set(json.loads((real / "expected.json").read_text())["broken"])
    for name, words in BROKEN.items():
        with pytest.raises(BadSampleError, match=words) as caught, VideoReader(real / "broken" / name) as reader:
            reader.read(range(len(reader)))
        assert name in str(caught.value)
    whole = {"trunc50_faststart.mp4": "arm_wrestling.mp4", "trunc50.avi": "apply_eye_makeup.avi"}
    for name, (expected, cut) in SHORTENED.items():
        with VideoReader(real / "broken" / name) as reader:
            assert len(reader) == expected - cut, name
            frames = reader.read(range(len(reader)))
        if name in whole:
            assert (frames == read_frames(real / "videos" / whole[name], range(len(frames)), backend="av")).all()


@pytest.mark.slow
def test_120_mutated_copies_of_real_videos(real, tmp_path):
    total = dict(right=0, error=0)
    for name in ("arm_wrestling.mp4", "pool_cleaning.mp4", "basketball.mp4", "apply_eye_makeup.avi"):
        shutil.copy(real / "videos" / name, tmp_path)
        for key, count in check_mutations(tmp_path / name, range(30), tmp_path).items():
            total[key] += count
    print(total)
    assert sum(total.values()) == 120
    assert total["right"] >= 10


@pytest.mark.slow
def test_memory_does_not_grow(video):
    for _ in range(50):
        read_frames(video, [0, 12, 23])
    child = processes.pool._idle[-1].pid
    before = resident_kib(child)
    for _ in range(500):
        read_frames(video, [0, 12, 23])
    assert processes.pool._idle[-1].pid == child
    assert resident_kib(child) - before < 5 * 1024  # 1 MB per 100


def resident_kib(process: int) -> int:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1])
