"""Frames to a video file that every player shows."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np


def write_video(path: str | Path, frames: Iterable[np.ndarray], fps: float, quality: int = 18) -> None:
    """Write frames as H.264 in MP4 with the index in front, one file whole or, after an error, none.

    Args:
        path: ends in .mp4; its folder exists.
        frames: (H, W, 3) uint8 RGB each, all of one even height and width; taken one by one.
        fps: frames per second.
        quality: constant rate factor, 0 (no loss) to 51; lower is better and larger.
    """
    import av  # here: whoever only wants to know whether a suffix is a video's needs no codecs

    file = Path(path)
    unfinished = file.with_name(f"{file.stem}.unfinished{file.suffix}")
    try:
        with av.open(str(unfinished), "w", options={"movflags": "+faststart"}) as container:
            stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(100_000),
                                          options={"crf": str(quality), "preset": "fast"})
            stream.thread_count = 1  # the same bytes on every machine
            stream.pix_fmt = "yuv420p"
            for number, frame in enumerate(frames):
                if not number:
                    stream.height, stream.width = frame.shape[:2]
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)
