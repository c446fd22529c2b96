"""Data sets of video files: a list file, a folder a class, or a CSV table."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.dataset import Compose
from torch.utils.data import Dataset

from clipapps.data.video.reader import VIDEO_SUFFIXES
from clipapps.errors import DataError, did_you_mean
from clipapps.registry import DATASETS

_SHOWN = 5


class VideoFiles(Dataset):
    """Labeled video files and the pipeline that turns one into a sample; the base of those below.

    The pipeline starts from `video_path`, `label` (0-based), `index` and `sample_idx` (both the place in the list).

    Args:
        files: (path, label) of each video; classes: names in the order of labels.
        pipeline: transform configs or callables; an empty one returns the dict above.
        where: what told the labels, for messages.

    Raises:
        DataError: no video; files that are missing; labels outside the classes.
    """

    def __init__(self, files: Sequence[tuple[Path, int]], classes: Sequence[str], pipeline: Sequence[Any],
                 where: str | Path) -> None:
        self.files, self.metainfo = list(files), {"classes": tuple(classes)}
        self.pipeline = Compose(list(pipeline))
        if not self.files:
            raise DataError(f"{where} lists no videos.")
        wrong = sorted({label for _, label in self.files if not 0 <= label < len(classes)})
        if wrong:
            raise DataError(f"{where} has the labels {_some(wrong)}, but with {len(classes)} classes they go from 0 to "
                            f"{len(classes) - 1}.")
        missing = [str(path) for path, _ in self.files if not path.is_file()]
        if missing:
            raise DataError(f"{len(missing)} of the {len(self.files)} videos that {where} lists are not there: "
                            f"{_some(missing)}. Look at data_root, or take the lines out.")

    def __len__(self) -> int:
        return len(self.files)

    def get_data_info(self, index: int) -> dict[str, Any]:
        """The sample before the pipeline."""
        path, label = self.files[index]
        return dict(video_path=str(path), label=label, index=index, sample_idx=index)

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.pipeline(self.get_data_info(index))


@DATASETS.register_module()
class ListFileVideos(VideoFiles):
    """Videos of a text file with one `path label` a line.

    The label is the last word of a line, so that paths may hold blanks and tabs; empty lines and those that begin with
    `#` are left out.

    Args:
        ann_file: the text file; a relative path is taken below `data_root`, where that is given.
        data_root: folder of everything; None takes the text file's own.
        classes: names in the order of labels, or a CSV file with the header `id,name`, below `data_root`, too.
        pipeline: as in `VideoFiles`.
        data_prefix: folder below `data_root` from which the listed paths are relative.

    Raises:
        DataError: a file is missing, or a line, label or name is wrong.

    >>> def training_set(root):
    ...     return ListFileVideos("train.txt", root, classes="labels.csv", data_prefix="videos")
    """

    def __init__(self, ann_file: str | Path, data_root: str | Path | None = None,
                 classes: str | Path | Sequence[str] = (), pipeline: Sequence[Any] = (),
                 data_prefix: str | Path = "") -> None:
        ann_file, root, classes = _located(ann_file, data_root, classes)
        files = []
        for number, line in enumerate(_lines(ann_file), start=1):
            if not line or line.startswith("#"):
                continue
            words = line.rsplit(maxsplit=1)
            if len(words) < 2 or not words[1].isdecimal():
                raise DataError(f"Line {number} of {ann_file} is {line!r}; expected a path and a label from 0.")
            files.append((root / data_prefix / words[0], int(words[1])))
        super().__init__(files, class_names(classes), pipeline, ann_file)


@DATASETS.register_module()
class FolderVideos(VideoFiles):
    """Videos in one folder a class: `<data_root>/<class>/**/<video>`.

    Args:
        data_root: the folder of folders.
        classes: names of the folders in the order of labels, or a CSV file of them; empty takes all, sorted.
        pipeline: as in `VideoFiles`.

    Raises:
        DataError: a folder is missing or holds no videos.

    >>> def training_set(root):
    ...     return FolderVideos(f"{root}/train")
    """

    def __init__(self, data_root: str | Path, classes: str | Path | Sequence[str] = (),
                 pipeline: Sequence[Any] = ()) -> None:
        root = Path(data_root)
        if not root.is_dir():
            raise DataError(f"There is no folder {root}; expected one with a folder of videos for each class.")
        found = sorted(folder.name for folder in root.iterdir() if folder.is_dir())
        names = class_names(classes) or tuple(found)
        for name in names:
            if name not in found:
                raise DataError(f"The class {name!r} has no folder in {root}.{did_you_mean(name, found)}")
        files = [(file, label) for label, name in enumerate(names) for file in sorted((root / name).rglob("*"))
                 if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file()]
        super().__init__(files, names, pipeline, root)


@DATASETS.register_module()
class CsvVideos(VideoFiles):
    """Videos of a CSV table with a header that has `path` and `label`; labels are numbers, or names of classes.

    Args:
        ann_file: the table; further columns do not matter.
        data_root, pipeline, data_prefix: as in `ListFileVideos`.
        classes: as there; empty takes the labels of the table as names, sorted, when they are no numbers.
        path, label: names of the two columns.

    Raises:
        DataError: the file or a column is missing, or a label is no class.

    >>> def training_set(root):
    ...     return CsvVideos("train.csv", root, path="video", label="action")
    """

    def __init__(self, ann_file: str | Path, data_root: str | Path | None = None,
                 classes: str | Path | Sequence[str] = (), pipeline: Sequence[Any] = (), path: str = "path",
                 label: str = "label", data_prefix: str | Path = "") -> None:
        ann_file, root, classes = _located(ann_file, data_root, classes)
        rows = list(csv.DictReader(_lines(ann_file)))
        for column in (path, label):
            if rows and column not in rows[0]:
                raise DataError(f"{ann_file} has no column {column!r}.{did_you_mean(column, rows[0])} It has: "
                                f"{', '.join(rows[0])}.")
        told = [(row[label] or "").strip() for row in rows]
        names = class_names(classes)
        numbers = {name: number for number, name in enumerate(names)}
        if not names:
            if all(word.isdecimal() for word in told):
                names = tuple(str(number) for number in range(max(map(int, told), default=-1) + 1))
            else:
                names = tuple(sorted(set(told)))
                numbers = {name: number for number, name in enumerate(names)}
        files = []
        for number, (row, word) in enumerate(zip(rows, told, strict=True), start=2):
            if word not in numbers and not word.isdecimal():
                raise DataError(f"Line {number} of {ann_file} has the label {word!r}, which is no class."
                                f"{did_you_mean(word, names)}")
            files.append((root / data_prefix / (row[path] or ""), numbers[word] if word in numbers else int(word)))
        super().__init__(files, names, pipeline, ann_file)


def _located(ann_file: str | Path, data_root: str | Path | None, classes: str | Path | Sequence[str],
             ) -> tuple[Path, Path, str | Path | Sequence[str]]:
    """The list, the folder of everything, and the classes, whose file is looked for there, too."""
    if data_root is None:
        return Path(ann_file), Path(ann_file).parent, classes
    root = Path(data_root)
    return root / ann_file, root, root / classes if isinstance(classes, (str, Path)) else classes


def class_names(classes: str | Path | Sequence[str]) -> tuple[str, ...]:
    """Names in the order of labels: those given, or of a CSV file with the header `id,name` and ids from 0.

    Raises:
        DataError: the file is missing, or its ids are not 0, 1, 2, ... in some order.
    """
    if not isinstance(classes, (str, os.PathLike)):
        return tuple(classes)
    rows: list[Mapping[str, str]] = list(csv.DictReader(_lines(classes)))
    if not rows or not {"id", "name"} <= set(rows[0]):
        raise DataError(f"{classes} is no list of classes: its first line must be id,name and more must follow.")
    names = {row["id"].strip(): row["name"].strip() for row in rows}
    expected = [str(number) for number in range(len(rows))]
    if set(names) != set(expected):
        raise DataError(f"{classes}: the ids must be the numbers from 0 to {len(rows) - 1}, each once.")
    return tuple(names[number] for number in expected)


def _lines(file: str | Path) -> list[str]:
    try:
        return [line.strip() for line in Path(file).read_text(encoding="utf-8-sig").splitlines()]
    except FileNotFoundError as error:
        raise DataError(f"There is no file {file}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read: {error}.") from error


def _some(items: Sequence[Any]) -> str:
    return ", ".join(str(item) for item in items[:_SHOWN]) + (", ..." if len(items) > _SHOWN else "")
