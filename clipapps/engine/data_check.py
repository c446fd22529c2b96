"""Every sample that a config would train and evaluate on, read once: the work behind `clipapps data check CONFIG`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mmengine import Config
from mmengine.dataset import ConcatDataset
from mmengine.registry import DATASETS, DefaultScope
from torch.utils.data import DataLoader

from clipapps.data.check import Facts, Finding, MediaFolder, SampleReader, Summary
from clipapps.data.images import png_bytes
from clipapps.engine.atomic import atomic_file
from clipapps.engine.building import built_from
from clipapps.engine.seeding import SeededDataset
from clipapps.engine.signatures import accepted_arguments
from clipapps.errors import ClipAppsError, ConfigError
from clipapps.visualization.panels import side_by_side, stacked

SPLITS = ("train", "val", "test")
Listener = Callable[[Summary, list[Finding]], None]
_DRAWN, _IN_A_ROW = 16, 4


def check_config(cfg: Config, *, limit: int | None = None, workers: int | None = None, pictures: Path | None = None,
                 listener: Listener = lambda summary, new: None) -> list[Summary]:
    """Read the samples of a config's data sets through their own pipelines; nothing is trained or built beside them.

    Errors are collected, whatever they are, and memory does not grow with the number of samples. Random steps draw
    from the sample's number alone, so that two checks agree.

    Args:
        cfg: from `load_config`.
        limit: samples of each split, spread evenly over it; None reads all.
        workers: processes that read; None takes each loader's own `num_workers`.
        pictures: folder that gets `<split>.png`, 16 samples with their labels over them; None draws none.
        listener: called after every sample with its split's summary so far and the sample's findings; and once for a
            split that cannot be read at all.

    Returns:
        one summary a split, in the order train, val, test; splits that read the same samples are told once.

    Raises:
        ConfigError: the config has no data set.
    """
    loaders = {split: cfg[f"{split}_dataloader"] for split in SPLITS if cfg.get(f"{split}_dataloader")}
    if not loaders:
        raise ConfigError(f"{cfg.filename} has none of {', '.join(f'{split}_dataloader' for split in SPLITS)}, "
                          "so there is no data to check.")
    found: list[tuple[Any, list[Summary]]] = []
    with DefaultScope.overwrite_default_scope(cfg.get("default_scope") or "clipapps"):
        for split, loader in loaders.items():
            same = next((summaries for config, summaries in found if config == loader["dataset"]), [])
            for summary in same:  # usually the test set is the validation set
                summary.also.append(split)
            count = workers if workers is not None else loader.get("num_workers") or 0
            if not same:
                found.append((loader["dataset"], [
                    _check(name, dataset, complaint, limit, count, pictures, listener)
                    for name, dataset, complaint in _built(split, loader["dataset"])]))
    return [summary for _, summaries in found for summary in summaries]


def check_folder(folder: Path, *, limit: int | None = None, workers: int = 0, pictures: Path | None = None,
                 listener: Listener = lambda summary, new: None) -> list[Summary]:
    """Decode every image and video in a folder and below it; arguments as `check_config`.

    Raises:
        DataError: the folder holds neither.
    """
    return [_check(folder.name or str(folder), MediaFolder(folder), None, limit, workers, pictures, listener)]


def _built(split: str, config: Any) -> Iterator[tuple[str, Any, str | None]]:
    """The data sets of a split with their names, and what their construction complained about.

    mmengine's data sets list their samples in a step of its own, `full_init`; when only that fails, because some of the
    files are not there, the others can still be read.
    """
    dataset = complaint = None
    try:
        with built_from(f"{split}_dataloader.dataset"):
            dataset = DATASETS.build({**config, "lazy_init": True} if _may_wait(config) else config) \
                if isinstance(config, dict) else config
            if hasattr(dataset, "full_init"):
                dataset.full_init()
    except ClipAppsError as error:
        complaint = str(error)
        dataset = dataset if getattr(dataset, "_fully_initialized", False) else None
    while dataset is not None and hasattr(dataset, "dataset") and hasattr(dataset, "full_init"):
        dataset = dataset.dataset  # a wrapper of mmengine that repeats samples
    if isinstance(dataset, ConcatDataset):
        yield from ((f"{split}[{number}]", part, complaint) for number, part in enumerate(dataset.datasets))
    else:
        yield split, dataset, complaint


def _may_wait(config: Mapping[str, Any]) -> bool:
    kind = config.get("type")
    kind = DATASETS.get(kind) if isinstance(kind, str) else kind
    return callable(kind) and "lazy_init" in accepted_arguments(kind).parameters


def _check(name: str, dataset: Any, complaint: str | None, limit: int | None, workers: int, pictures: Path | None,
           listener: Listener) -> Summary:
    summary = Summary(name)
    if complaint is not None:
        summary.findings.append(Finding(name, "", complaint))
        listener(summary, summary.findings[-1:])
    if dataset is None:
        return summary
    chosen = _spread(len(dataset), limit)
    drawn = [chosen[place] for place in _spread(len(chosen), _DRAWN)] if pictures is not None else []
    if orphans := [Finding(name, str(file), f"{file}: this label map has no image.") for file in _orphans(dataset)]:
        summary.findings += orphans
        listener(summary, orphans)
    reader = SampleReader(dataset, drawn)
    summary.samples, summary.chosen, summary.classes = len(dataset), len(chosen), reader.classes
    painted: list[tuple[str, np.ndarray]] = []
    for facts in _read(reader, chosen, workers):
        listener(summary, summary.add(facts))
        if facts.thumbnail is not None:
            painted.append((Path(facts.paths[0]).stem if facts.paths else str(facts.index), facts.thumbnail))
    if pictures is not None and painted:
        rows = [side_by_side(painted[start:start + _IN_A_ROW]) for start in range(0, len(painted), _IN_A_ROW)]
        pictures.mkdir(parents=True, exist_ok=True)
        with atomic_file(pictures / f"{name}.png") as stream:
            stream.write(png_bytes(stacked(rows)))
    return summary


def _read(reader: SampleReader, chosen: list[int], workers: int) -> Iterator[Facts]:
    """The facts of the chosen samples in order; with workers a few are read ahead, never more."""
    seeded: Any = SeededDataset(reader, seed=0)
    if not workers:
        yield from (seeded[index] for index in chosen)
        return
    yield from DataLoader(seeded, batch_size=None, sampler=chosen, num_workers=min(workers, os.cpu_count() or 1))


def _orphans(dataset: Any) -> list[Path]:
    """Label maps that belong to no image, in a data set of mmsegmentation that lists its folders by itself."""
    suffix = getattr(dataset, "seg_map_suffix", None)
    folder = Path((getattr(dataset, "data_prefix", None) or {}).get("seg_map_path") or "")
    if suffix is None or dataset.ann_file or dataset._indices is not None or not folder.name or not folder.is_dir():
        return []
    known = {str(dataset.get_data_info(index).get("seg_map_path")) for index in range(len(dataset))}
    return sorted(file for file in folder.rglob(f"*{suffix}") if str(file) not in known)


def _spread(length: int, count: int | None) -> list[int]:
    """All indices, or `count` of them at equal distances, first and last included."""
    if count is None or count >= length:
        return list(range(length))
    return np.linspace(0, length - 1, count).round().astype(int).tolist()
