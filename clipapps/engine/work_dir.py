"""The folder of a run: made before anything else, never a mixture of two runs."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clipapps.engine.atomic import remove_stale, write_text
from clipapps.engine.hooks.checkpoint import BEST
from clipapps.engine.hooks.progress import SCALARS
from clipapps.engine.resume import POINTER
from clipapps.engine.seeding import BAD_SAMPLES
from clipapps.errors import UserError

PREVIOUS = "previous"
CONFIG = "config.py"
METRICS = "metrics.json"
_OF_A_RUN = (CONFIG, METRICS, SCALARS, BEST, POINTER, "curves.png", "pictures", "train.log", BAD_SAMPLES)


def open_folder(folder: Path) -> None:
    """Make the folder, show that it can be written, and clear what a killed process left half-written.

    Raises:
        DiskError: it cannot be written.
    """
    probe = folder / ".writable"
    write_text(probe, "")
    probe.unlink()
    for leftover in remove_stale(folder):
        logging.getLogger("clipapps").info("removed the half-written %s", leftover)


@contextmanager
def gone_if_nothing_ran(folder: Path) -> Iterator[None]:
    """Remove the folder again when the input turns out to be wrong before anything came of the run.

    A folder that was there before stays.
    """
    existed = folder.exists()
    try:
        yield
    except UserError:
        came_of_it = [*folder.glob("*.pth"), *(file for file in folder.glob(SCALARS) if file.stat().st_size)]
        if not existed and not came_of_it:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def set_aside(folder: Path) -> Path | None:
    """Move an earlier run's files into `previous/`, which replaces the run before it; None when there was none.

    A fresh run in a used folder would otherwise mix its curves with old ones, and a later --resume could pick up a
    checkpoint of the wrong run. A run that came to no result (a wrong value stopped it) is deleted instead: it must
    not push a good one out of `previous/`.
    """
    checkpoints = sorted(folder.glob("*_[0-9]*.pth"))
    files = [folder / name for name in _OF_A_RUN if (folder / name).exists()] + checkpoints
    if not checkpoints and not (folder / BEST).exists() and not (folder / METRICS).exists():
        for file in files:
            shutil.rmtree(file) if file.is_dir() else file.unlink()
        return None
    target = folder / PREVIOUS
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for file in files:
        file.rename(target / file.name)
    return target
