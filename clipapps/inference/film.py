"""What a project for pictures says of every frame of a film, drawn into a copy of the film."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from clipapps.data.video import VideoReader
from clipapps.data.video.remux import VideoCopy, target_suffix
from clipapps.engine.atomic import atomic_file, write_json
from clipapps.inference.result import Image, Result

if TYPE_CHECKING:
    from clipapps.inference.inferencer import Inferencer


@dataclass
class FilmResult(Result):
    """A film whose frames are worked on while they are asked for or saved, in the memory of a few.

    Args:
        name: see `Result`.
        image: its first frame.
        inferencer: what looks at the frames.
        file: the film.
    """

    inferencer: Inferencer
    file: Path

    def frames(self) -> Iterator[tuple[float, Result]]:
        """Seconds from the first frame, and the result of the frame, one by one.

        Raises:
            BadSampleError: the film is damaged.
        """
        with VideoReader(self.file) as video:
            seconds = video.duration
            for number, (time, frame) in enumerate(video.stream()):
                with self.inferencer.computing():
                    result = self.inferencer.predict(frame, f"{self.name}_{number:06d}")
                yield time, result
                self.tell(time, seconds)

    def tell(self, time: float, seconds: float) -> None:
        """Report progress: `time` of so many seconds is done."""
        if self.inferencer.progress is not None and seconds > 0:
            self.inferencer.progress(min(time / seconds, 1.0))

    def plot(self) -> Image:
        """The first frame's picture."""
        return next(self.frames())[1].plot()

    def to_dict(self) -> dict[str, Any]:
        """Size, length in seconds, and frame rate."""
        with VideoReader(self.file) as video:
            return dict(size=list(self.image.shape[:2]), seconds=video.duration, fps=video.fps, audio=video.has_audio)

    def save(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write the film with results drawn in and its sound, `<name>.json`, and `<name>.jsonl` with a line a frame.

        Raises:
            BadSampleError: the film is damaged. DiskError: it cannot be written. No half-written file is left.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.name, count = self.name_in(folder), 0
        film, lines = folder / f"{self.name}{target_suffix(self.file)}", folder / f"{self.name}.jsonl"
        with VideoCopy(self.file, film) as copy, atomic_file(lines) as stream:
            for time, result in self.frames():
                copy.add(result.annotated(), time)
                stream.write((json.dumps(dict(time=round(time, 4), **result.to_dict())) + "\n").encode())
                count += 1
        write_json(folder / f"{self.name}.json", dict(**self.to_dict(), frames=count))
        return [film, folder / f"{self.name}.json", lines]

    @classmethod
    def open(cls, inferencer: Inferencer, file: Path, name: str) -> Self:
        """A film's result, before any but its first frame is decoded; raises BadSampleError when it cannot be read."""
        with VideoReader(file) as video:
            stream = video.stream()
            _, first = next(stream)
            stream.close()
        return cls(name, first, inferencer, file)
