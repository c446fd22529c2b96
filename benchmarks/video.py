"""Clips per second out of video files: `python benchmarks/video.py [VIDEO ...]`.

Decoding alone (open, count, read 8 uniform frames) with each backend, as CPU time, and what the child process and the
checks cost beside bare decord in this process; the steps of training and of the test with 4 x 3 views; and a loader
with workers. Without a file, films of the toy world are written and read.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import cv2
import torch
from measure import machine, median_seconds

from clipapps.data.video import VideoReader
from clipapps.data.video.datasets import VideoFiles
from clipapps.data.video.process import pool
from clipapps.engine.loaders import build_dataloader
from clipapps.projects.ila.sampling import SegmentSampler
from clipapps.registry import TRANSFORMS
from clipapps.toyworld.videos import ToyWorldVideos, write_films

FRAMES = 8
TRAIN = [dict(type="ResizeShortSide", size=256), dict(type="CropMultiScale", size=224), dict(type="JitterColors"),
         dict(type="GrayClip"), dict(type="EraseBox"), dict(type="PackClip")]
TEST = [dict(type="ResizeShortSide", size=224), dict(type="CropThree", size=224), dict(type="PackClip")]
LOAD = dict(type="LoadClip", sampler=dict(type="SegmentSampler", frames=FRAMES))
VIEWS = dict(type="LoadClip", sampler=dict(type="ViewSampler", frames=FRAMES, views=4))


def decode_clips_per_second(path: Path, backend: str = "auto", runs: int = 5) -> float:
    """Opening, counting and reading 8 uniform frames, in the child process that is there already."""
    def read() -> None:
        with VideoReader(path, backend=backend) as video:
            video.read(SegmentSampler(FRAMES, random=False)(len(video))[0])

    return 1 / median_seconds(read, runs)


def decode_cpu_ms(path: Path, backend: str | None = "auto", runs: int = 5) -> float:
    """CPU time of the same, of this process and its child together: what counts on a busy machine.

    Args:
        backend: None for decord in this process.
    """
    def read() -> None:
        if backend is None:
            decord = importlib.import_module("decord")
            video = decord.VideoReader(str(path), num_threads=1)
            video.get_batch(SegmentSampler(FRAMES, random=False)(len(video))[0]).asnumpy()
        else:
            with VideoReader(path, backend=backend) as video:
                video.read(SegmentSampler(FRAMES, random=False)(len(video))[0])

    def used() -> float:
        ticks = 0
        for process in pool._idle:
            words = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(words[11]) + int(words[12])
        return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")

    read()
    before = used()
    for _ in range(runs):
        if os.access(path, os.W_OK):
            os.utime(path)  # a file that changed is opened anew
        read()
    return 1000 * (used() - before) / runs


def transform_clips_per_second(path: Path, steps: list[dict], load: dict, runs: int = 5) -> float:
    """The steps behind the reading."""
    loaded = TRANSFORMS.build(dict(load))(dict(video_path=str(path), label=0))
    pipeline = [TRANSFORMS.build(dict(step)) for step in steps]

    def transform() -> None:
        sample = loaded
        for step in pipeline:
            sample = step(sample)

    return 1 / median_seconds(transform, runs)


def loader_clips_per_second(paths: list[Path], workers: int, batches: int = 4, batch: int = 8) -> float:
    """Training samples out of a loader; the start of workers and of their children is not counted."""
    files = [(path, 0) for path in paths] * (1000 // len(paths) + 1)
    dataset = VideoFiles(files, ("any",), [TRANSFORMS.build(dict(step)) for step in [LOAD, *TRAIN]], "the benchmark")
    loader = build_dataloader(dict(
        batch_size=batch, num_workers=workers, dataset=dataset, sampler=dict(type="InfiniteSampler", shuffle=True),
        collate_fn=dict(type="default_collate")), seed=0)
    iterator = iter(loader)
    for _ in range(2 * workers + 1):  # what the workers had read ahead while they started
        next(iterator)
    start = time.perf_counter()
    for _ in range(batches):
        next(iterator)
    return batches * batch / (time.perf_counter() - start)


def _row(name: str, values: Iterable[object]) -> str:
    words = (f"{value:.1f}" if isinstance(value, float) else str(value) for value in values)
    return f"{name:30}" + "".join(f"{word:>12}" for word in words)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--workers", type=int, nargs="*", default=[0, 2])
    args = parser.parse_args()
    torch.multiprocessing.set_sharing_strategy("file_system")
    cv2.setNumThreads(1)
    print(f"{machine()}\n\nclips of {FRAMES} frames; ", end="")
    with tempfile.TemporaryDirectory() as folder:
        if not args.videos:
            write_films(ToyWorldVideos(num_videos=8, frames=64, size=256), Path(folder) / "films")
            args.videos = sorted((Path(folder) / "films").glob("*.mp4"))[:1]
        copies = [Path(shutil.copy(path, folder)) for path in args.videos]
        print("CPU milliseconds a clip\n" + _row("video", ("decord", "PyAV", "both", "in process")))
        for path in copies:
            print(_row(path.name, [decode_cpu_ms(path, kind, args.runs) for kind in ("decord", "av", "auto", None)]),
                  flush=True)
        print("\nclips a second\n" + _row("video", ("decode", "train steps", "4x3 views")))
        for path in copies:
            rates = [decode_clips_per_second(path, "auto", args.runs)]
            rates += [transform_clips_per_second(path, steps, load, args.runs)
                      for steps, load in ((TRAIN, LOAD), (TEST, VIEWS))]
            print(_row(path.name, rates), flush=True)
        for workers in args.workers:
            print(f"loader, {workers} workers: {loader_clips_per_second(copies, workers):.1f} clips/s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
