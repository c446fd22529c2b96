"""What one-call inference gives back: typed results that can be drawn, saved, and told as plain values."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from clipapps.data.images import png_bytes
from clipapps.data.inputs import places
from clipapps.engine.atomic import atomic_file, write_json

Image = NDArray[np.uint8]


@dataclass
class Result(ABC):
    """What one input became.

    Args:
        name: stem of the input's file name; results are saved under it.
        image: the input, (H, W, 3) uint8 RGB.
        source: the input's file, if it was one.
        protected: folder and stem of other files that are not to be replaced (`clipapps.data.inputs.places`).
    """

    name: str
    image: Image
    source: Path | None = field(default=None, init=False)
    protected: frozenset[tuple[Path, str]] = field(default=frozenset(), init=False, repr=False)
    #: what the name gets in the input's own folder
    beside: ClassVar[str] = "_result"

    @abstractmethod
    def plot(self) -> Image:
        """A picture of the result, (H, W, 3) uint8 RGB."""

    def annotated(self) -> Image:
        """The picture with the result drawn in, of the input's own size where that is possible: a frame of a film."""
        return self.plot()

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The result as plain values that JSON can hold; arrays that are files of their own are left out."""

    def save(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write `<name>.png` (the picture) and `<name>.json` into a folder, which is made; returns the paths.

        In the input's own folder the name becomes `<name>_result`, so that no input is ever replaced.

        Raises:
            DiskError: the folder cannot be written; no half-written file is left.
        """
        folder = Path(folder)
        self.name = self.name_in(folder)
        picture, facts = folder / f"{self.name}.png", folder / f"{self.name}.json"
        with atomic_file(picture) as stream:
            stream.write(png_bytes(self.plot()))
        write_json(facts, self.to_dict())
        return [picture, facts]

    def name_in(self, folder: Path) -> str:
        """The name under which no input is replaced in a folder, through whatever links either is named."""
        own = places([self.source]) if self.source is not None else frozenset()
        taken = {stem for place, stem in own | self.protected if place == folder.resolve()}
        is_beside = any(place == folder.resolve() for place, _ in own)
        name = self.name + self.beside if is_beside and not self.name.endswith(self.beside) else self.name
        numbered = (f"{name}_{number}" for number in count(2))
        return name if name not in taken else next(other for other in numbered if other not in taken)


class Results(list[Result]):
    """The results of one call, in input order."""

    def save(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Save every result into a folder; returns all paths."""
        return [path for result in self for path in result.save(folder)]
