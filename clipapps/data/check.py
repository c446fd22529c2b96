"""What is wrong with the samples of a data set, one by one: the work behind `clipapps data check`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

from clipapps.data.images import IMAGE_SUFFIXES
from clipapps.data.transforms import LoadImage
from clipapps.data.video.reader import VIDEO_SUFFIXES, VideoReader
from clipapps.errors import BadSampleError, DataError
from clipapps.visualization.masks import IGNORED, distinct_colors, overlay

THUMBNAIL_SIDE = 192
# Names under which pipelines carry these things; a sample has some of them.
_CLASS_MAPS = ("gt_seg_map", "semantic")
_CLASS_LISTS = ("gt_bboxes_labels", "gt_label", "label")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Args:
        split: "train", "val", "test", or the name of a folder.
        file: the file that is at fault; empty where it is the whole split.
        reason: a sentence that names the file, too.
        index: of the sample in its split; None where it is the whole split.
    """

    split: str
    file: str
    reason: str
    index: int | None = None


@dataclass
class Facts:
    """What one sample holds before anything changes it, and what is wrong with it.

    Args:
        index: of the sample.
        paths: its files, the image first.
        size, label_size: width and height of its image and of its label map in pixels.
        pixels: class id -> pixels of its label map.
        objects: class id -> boxes, or 1 for the class of the whole sample.
        problems: one sentence each.
        left_out: the pipeline step that drops this sample; empty where none does.
        thumbnail: the image, small, (H, W, 3) uint8 RGB, with the label map over it; None where it was not asked for.
    """

    index: int
    paths: list[str] = field(default_factory=list)
    size: tuple[int, int] | None = None
    label_size: tuple[int, int] | None = None
    pixels: dict[int, int] | None = None
    objects: dict[int, int] | None = None
    problems: list[str] = field(default_factory=list)
    left_out: str = ""
    thumbnail: np.ndarray | None = None


class SampleReader:
    """Sample `index` of a data set as `Facts`; an error of any kind becomes a problem of that sample.

    A data set in mmengine's style (`get_data_info` and `pipeline`) is read step by step: image and labels are looked at
    when they first appear, before a later step resizes or crops them, and videos are decoded to their end. Any other is
    read by its index.

    Args:
        dataset: has `__len__` and `__getitem__`; `metainfo["classes"]` gives the number of classes.
        thumbnails: indices of the samples that are also drawn.
        ignore_index: the id of label pixels that do not count.

    >>> SampleReader([{"img": np.zeros((2, 3, 3), np.uint8)}])[0].size
    (3, 2)
    """

    def __init__(self, dataset: Any, thumbnails: Iterable[int] = (), ignore_index: int = IGNORED) -> None:
        self.dataset = dataset
        self.thumbnails = frozenset(thumbnails)
        self.ignore_index = ignore_index
        meta = getattr(dataset, "metainfo", None) or {}
        self.classes = [str(name) for name in meta.get("classes") or ()]
        self.palette = meta.get("palette") or ()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Facts:
        facts = Facts(index)
        try:
            for sample in self._stages(index, facts):
                self._look(sample, facts)
        except MemoryError:
            raise
        except BadSampleError as error:
            facts.problems.append(str(error))
        except Exception as error:  # whatever a reader or a transform raises is what training would meet
            where = facts.paths[0] if facts.paths else f"sample {index}"
            words = (str(error).strip().splitlines() or [""])[0].rstrip(".")
            facts.problems.append(f"{where}: {type(error).__name__}: {words}.")
        else:
            facts.problems += self._complaints(facts)
        if facts.thumbnail is not None:
            facts.thumbnail = _shrunk(facts.thumbnail)
        return facts

    def _stages(self, index: int, facts: Facts) -> Iterator[Any]:
        """The sample as the data set lists it, then after every step of its pipeline."""
        steps = getattr(getattr(self.dataset, "pipeline", None), "transforms", None)
        if steps is None or not hasattr(self.dataset, "get_data_info"):
            yield self.dataset[index]
            return
        sample = self.dataset.get_data_info(index)
        yield sample
        if Path(sample.get("video_path", "")).suffix.lower() in VIDEO_SUFFIXES:
            yield _decoded(sample)  # the pipeline reads some frames, in another epoch others
        for step in steps:
            sample = step(sample)
            if sample is None:
                facts.left_out = type(step).__name__
                return
            yield sample

    def _look(self, sample: Any, facts: Facts) -> None:
        """Note what has appeared since the last look; later steps may change the arrays in place."""
        if not isinstance(sample, Mapping):
            return
        facts.paths += [value for key, value in sample.items() if isinstance(value, str) and value not in facts.paths
                        and (key == "filename" or key.endswith("path"))]
        image, labels, classes = _image_of(sample), _first(sample, _CLASS_MAPS), _first(sample, _CLASS_LISTS)
        if facts.size is None and image is not None:
            facts.size = (image.shape[1], image.shape[0])
            if facts.index in self.thumbnails:
                facts.thumbnail = image.astype(np.uint8)
        if facts.pixels is None and labels is not None:
            ids, counts = np.unique(labels, return_counts=True)
            facts.pixels = dict(zip(ids.tolist(), counts.tolist(), strict=True))
            facts.label_size = (labels.shape[-1], labels.shape[-2])
            if facts.thumbnail is not None:
                facts.thumbnail = self._labeled(facts.thumbnail, labels.reshape(labels.shape[-2:]))
        if facts.objects is None and "instances" in sample:
            self._look_at_objects(sample["instances"], facts)
        elif facts.objects is None and classes is not None:
            facts.objects = dict(Counter(classes.reshape(-1).astype(int).tolist()))

    def _look_at_objects(self, objects: Sequence[Mapping[str, Any]], facts: Facts) -> None:
        """Classes and boxes (left, top, right, bottom in pixels) of the objects as the data set lists them."""
        facts.objects = dict(Counter(int(item.get("label", item.get("bbox_label", 0))) for item in objects))
        where = facts.paths[0] if facts.paths else f"sample {facts.index}"
        for item in objects:
            left, top, right, bottom = item["bbox"]
            if not (np.isfinite(item["bbox"]).all() and left < right and top < bottom):
                shown = ", ".join(f"{value:g}" for value in item["bbox"])
                facts.problems.append(f"{where} has a box ({shown}) without an area.")

    def _complaints(self, facts: Facts) -> Iterator[str]:
        """What no reader has complained about."""
        label = facts.paths[-1] if facts.paths else f"sample {facts.index}"
        if facts.pixels is not None and facts.pixels.keys() == {self.ignore_index}:
            yield f"{label}: every pixel is ignored ({self.ignore_index})."
        if facts.label_size is not None and facts.size is not None and facts.size != facts.label_size:
            (width, height), (own_width, own_height) = facts.size, facts.label_size
            yield f"{label} is {own_width} x {own_height} pixels, but its image is {width} x {height}."
        for kind, found in (("class ids", facts.pixels), ("object classes", facts.objects)):
            wrong = sorted(value for value in found or {} if self.classes and value != self.ignore_index
                           and not 0 <= value < len(self.classes))
            if wrong:
                shown = ", ".join(map(str, wrong[:5])) + (", ..." if len(wrong) > 5 else "")
                yield f"{label} has {kind} {shown}, but they go from 0 to {len(self.classes) - 1}."

    def _labeled(self, image: np.ndarray, labels: np.ndarray) -> np.ndarray:
        count = max(len(self.classes), int(labels[labels != self.ignore_index].max(initial=0)) + 1)
        colors = self.palette if len(self.palette) >= count else distinct_colors(count)
        return overlay(image, labels, colors, 0.5, ignore_index=self.ignore_index)


@dataclass
class Summary:
    """What all samples of one split came to.

    Args:
        split: its name; also: the splits that read the same samples.
        samples: how many it has; chosen: how many are to be read; read: how many were; bad: how many of these have a
            problem.
        left_out: how many a step of the pipeline drops.
        smallest, largest: images by number of pixels, as (width, height).
        pixels, objects: class id -> total; classes: their names.
        findings: every problem.
    """

    split: str
    also: list[str] = field(default_factory=list)
    samples: int = 0
    chosen: int = 0
    read: int = 0
    bad: int = 0
    left_out: int = 0
    smallest: tuple[int, int] | None = None
    largest: tuple[int, int] | None = None
    pixels: Counter[int] = field(default_factory=Counter)
    objects: Counter[int] = field(default_factory=Counter)
    classes: Sequence[str] = ()
    findings: list[Finding] = field(default_factory=list)

    def add(self, facts: Facts) -> list[Finding]:
        """Count one sample in; returns its findings."""
        self.read += 1
        self.bad += bool(facts.problems)
        self.left_out += bool(facts.left_out)
        self.pixels.update(facts.pixels or {})
        self.objects.update(facts.objects or {})
        if facts.size is not None:
            known = [size for size in (self.smallest, self.largest, facts.size) if size is not None]
            self.smallest, self.largest = min(known, key=_area), max(known, key=_area)
        new = [Finding(self.split, _named_in(problem, facts.paths), problem, facts.index) for problem in facts.problems]
        self.findings += new
        return new

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values that JSON can hold; classes are told by name."""
        content = asdict(self)
        for key in ("pixels", "objects"):
            counts = getattr(self, key)
            content[key] = {self.class_name(index): counts[index] for index in sorted(counts)}
        return {key: value for key, value in content.items() if key not in ("split", "classes")}

    def class_name(self, index: int) -> str:
        """The name of a class, "ignored", or the number of an id that has no name."""
        if 0 <= index < len(self.classes):
            return self.classes[index]
        return "ignored" if index == IGNORED else str(index)


class MediaFolder:
    """All images and videos in a folder and below it, sorted by path, as a data set in mmengine's style.

    A video is decoded from its first frame to its last.

    Raises:
        DataError: the folder holds neither.
    """

    def __init__(self, folder: Path) -> None:
        self.pipeline = SimpleNamespace(transforms=[_with_image])
        self.files = sorted(file for file in folder.rglob("*")
                            if file.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES and file.is_file())
        if not self.files:
            raise DataError(f"The folder {folder} holds no images and no videos; expected files ending in "
                            f"{', '.join(sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES))}.")

    def __len__(self) -> int:
        return len(self.files)

    def get_data_info(self, index: int) -> dict[str, Any]:
        """The file of one image or video."""
        kind = "video" if self.files[index].suffix.lower() in VIDEO_SUFFIXES else "img"
        return {f"{kind}_path": str(self.files[index])}


def _with_image(sample: dict[str, Any]) -> dict[str, Any]:
    return LoadImage()(sample) if "img_path" in sample else sample


def _decoded(sample: Mapping[str, Any]) -> dict[str, Any]:
    """The sample with `frames`: the one in the middle of its video, of which all others have been decoded, too."""
    video = VideoReader(sample["video_path"])
    middle = len(video) // 2
    frame = count = None
    for count, (_, picture) in enumerate(video.stream()):
        frame = picture if count <= middle else frame
    if count is None or count + 1 != len(video):
        shown = 0 if count is None else count + 1
        raise BadSampleError(f"{sample['video_path']} shows {shown} frames, but has {len(video)}.")
    return {**sample, "frames": frame[None] if frame is not None else None}


def _image_of(sample: Mapping[str, Any]) -> np.ndarray | None:
    """The sample's image as (H, W, 3) RGB, of a clip the frame in the middle.

    `img` is (H, W, 3) BGR, `frames` is (T, H, W, 3) RGB, `inputs` is ([[V,] T,] 3, H, W) RGB.
    """
    image = _first(sample, ("img",))
    if image is not None and image.ndim == 3 and image.shape[2] == 3:
        return image[..., ::-1]
    image = _first(sample, ("frames",))
    if image is not None and image.ndim == 4 and image.shape[3] == 3:
        return image[len(image) // 2]
    image = _first(sample, ("inputs",))
    while image is not None and image.ndim > 3:
        image = image[len(image) // 2]
    return image.transpose(1, 2, 0) if image is not None and image.ndim == 3 and image.shape[0] == 3 else None


def _first(sample: Mapping[str, Any], names: Sequence[str]) -> np.ndarray | None:
    """The first of the named entries that the sample has, as an array."""
    return next((np.asarray(sample[name]) for name in names if sample.get(name) is not None), None)


def _shrunk(image: np.ndarray) -> np.ndarray:
    small = Image.fromarray(image)
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    return np.asarray(small)


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def _named_in(problem: str, paths: Sequence[str]) -> str:
    """The longest of the sample's paths that the sentence names, else its first one."""
    named = [path for path in paths if path in problem]
    return max(named, key=len) if named else next(iter(paths), "")
