"""What `predict` works on: files and folders become jobs, each with a place of its own for its results."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from clipapps.data.images import IMAGE_SUFFIXES
from clipapps.errors import DataError


@dataclass(frozen=True)
class Job:
    """One input file, the folder its results go to, and their name."""

    source: Path
    folder: Path
    name: str


def list_files(path: str | os.PathLike[str], suffixes: Collection[str] = IMAGE_SUFFIXES, *,
               is_recursive: bool = False) -> list[Path]:
    """The path itself, or the files of these kinds in that folder by name; hidden files are passed over.

    Raises:
        DataError: there is nothing to read.
    """
    path = Path(path)
    if path.is_dir():
        found = _below(path) if is_recursive else path.iterdir()
        files = sorted(file for file in found if file.suffix.lower() in suffixes and not file.name.startswith("."))
        if not files:
            hint = "" if is_recursive or not any(entry.is_dir() for entry in path.iterdir()) else \
                "; --recursive looks into its sub-folders"
            raise DataError(f"The folder {path} holds nothing to work on; expected files ending in "
                            f"{', '.join(sorted(suffixes))}{hint}.")
        return files
    if not path.is_file():
        raise DataError(f"There is no file or folder {path}.")
    return [path]


def plan_jobs(inputs: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str], *,
              suffixes: Collection[str] = IMAGE_SUFFIXES, is_recursive: bool = False,
              skipped: Collection[Path] = ()) -> list[Job]:
    """One job a file, in the order of the inputs; the sub-folders of a folder are found again below `out`.

    Args:
        inputs: files and folders; a file that is named twice is one job.
        out: folder of all results; what lies in it is no input, unless it is an input folder itself.
        suffixes: kinds of files that are taken from folders.
        is_recursive: whether sub-folders are looked into.
        skipped: resolved paths that are not taken from folders, such as results of earlier runs.

    Raises:
        DataError: an input is missing, or a folder holds nothing.
    """
    out, targets = Path(out), dict[Path, Path]()
    for item in map(Path, inputs):
        for file in list_files(item, suffixes, is_recursive=is_recursive):
            if item.is_dir() and (file.resolve() in skipped or _is_below(file, out) and not _is_below(item, out)):
                continue
            targets.setdefault(file, out / file.relative_to(item).parent if item.is_dir() else out)
    files_of: dict[Path, list[Path]] = {}
    for file, folder in targets.items():
        files_of.setdefault(folder, []).append(file)
    names = {file: name for files in files_of.values() for file, name in zip(files, unique_names(files), strict=True)}
    return [Job(file, folder, names[file]) for file, folder in targets.items()]


def unique_names(files: Sequence[Path]) -> list[str]:
    """A name for the results of each file: its stem; where several share it, the suffix and a number tell them apart.

    >>> unique_names([Path("a.jpg"), Path("a.png"), Path("b.png"), Path("other/b.png")])
    ['a_jpg', 'a_png', 'b_png', 'b_png_2']
    """
    stems, names = Counter(file.stem for file in files), dict[str, None]()
    for file in files:
        base = file.stem if stems[file.stem] == 1 else file.name.replace(".", "_")
        numbered = (f"{base}_{number}" for number in count(2))
        names[base if base not in names else next(name for name in numbered if name not in names)] = None
    return list(names)


def places(files: Collection[Path]) -> frozenset[tuple[Path, str]]:
    """Folder and stem of each file, both as named and behind its links: where no result may be written."""
    return frozenset(place for file in files for place in ((file.parent.resolve(), file.stem),
                                                           (file.resolve().parent, file.resolve().stem)))


def _below(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent) / name for name in names)


def _is_below(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
