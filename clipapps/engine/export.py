"""A trained model as one file that runs without this package: what `clipapps export` does.

The project prepares its model (`Exporter`); here it is traced with dynamic height and width, written, opened again, and
compared with the model at sizes that were not traced. Nothing is published that does not agree.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clipapps.engine import onnx_file
from clipapps.engine.atomic import atomic_file
from clipapps.engine.config import load_config
from clipapps.engine.config_name import config_name
from clipapps.errors import UserError, WeightsError
from clipapps.project import Project, get_project, list_projects
from clipapps.registry import MODELS

SUFFIXES = {"onnx": ".onnx", "torch_export": ".pt2"}
INPUT, OUTPUT, METADATA = "images", "logits", "metadata.json"
#: largest difference from the model, relative to the model's largest output, that is published
TOLERANCE = 1e-3
_NOISY = ("torch.fx.experimental.symbolic_shapes", "torch.onnx", "onnxscript", "onnx_ir")

Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Request:
    """What a project's exporter is given.

    Args:
        weights: a checkpoint of this project, or None for configs that train nothing.
        config: name or path of its config; None: to be found from the weights.
        classes: class names to fix instead of the trained ones.
    """

    weights: Path | None
    config: str | None = None
    classes: Sequence[str] | None = None


@dataclass(frozen=True)
class Exportable:
    """What a project's exporter returns.

    Args:
        model: in eval mode; normalized images (B, 3, H, W) -> one tensor whose last two axes are H and W.
        size: height and width in pixels to trace at.
        smallest: least side in pixels.
        multiple: sides must be multiples of this; 1 when any size runs.
        metadata: what a user of the file must know, plain values.
    """

    model: nn.Module
    size: tuple[int, int]
    smallest: int
    multiple: int = 1
    metadata: Mapping[str, Any] = field(default_factory=dict)


#: the type of a project's `exporter`
Exporter = Callable[[Request], Exportable]


@dataclass(frozen=True)
class Comparison:
    """How far the written file is from the model at one size (H, W): largest difference, largest output."""

    size: tuple[int, int]
    difference: float
    largest: float


@dataclass(frozen=True)
class Report:
    """The file that was written, its size in bytes, and how it compares with the model."""

    path: Path
    num_bytes: int
    comparisons: list[Comparison]


def export(what: str, weights: str | Path | None, out: str | Path | None = None, *, kind: str = "onnx",
           classes: Sequence[str] | None = None, size: tuple[int, int] | None = None, force: bool = False) -> Report:
    """Write a model as ONNX or as a torch.export program, checked against the model.

    Args:
        what: a project, or a config of one.
        weights: the checkpoint.
        out: the file to write; None: beside the weights, or named after the config.
        kind: "onnx" or "torch_export".
        classes: class names to fix in the file instead of the trained ones.
        size: height and width in pixels to trace at; None: what the model was trained with.
        force: replace an existing file.

    Raises:
        UserError: unknown project, config, or class names; a size the model cannot take; the file exists.
        WeightsError: the weights do not fit; or the file does not compute what the model does.
        DiskError: the file cannot be written.
    """
    project, config = _find(what)
    source = None if weights is None else Path(weights).expanduser()
    target = _target(what, source, out, kind, force)
    exporter: Exporter = project.part("exporter")
    if kind == "onnx":
        onnx_file.require_packages()
    exportable = exporter(Request(source, config, classes))
    size = _checked_size(size or exportable.size, exportable)
    metadata = {key: value if isinstance(value, str) else json.dumps(value)
                for key, value in _facts(project, source, exportable, kind).items()}
    with tempfile.TemporaryDirectory(prefix="clipapps-") as folder, torch.no_grad(), _for_tracing():
        draft = Path(folder) / f"model{SUFFIXES[kind]}"
        program = trace(exportable.model, size, any_batch=kind == "onnx")
        run = (_write_onnx if kind == "onnx" else _write_program)(program, draft, metadata)
        comparisons = [compare(exportable.model, run, at) for at in check_sizes(size, exportable)]
        _refuse_difference(comparisons)
        with draft.open("rb") as written, atomic_file(target, expected_bytes=draft.stat().st_size) as stream:
            shutil.copyfileobj(written, stream)
    return Report(target, target.stat().st_size, comparisons)


def trace(model: nn.Module, size: tuple[int, int], *, any_batch: bool) -> torch.export.ExportedProgram:
    """The model's graph with dynamic height and width, traced at this size.

    Args:
        any_batch: with a dynamic batch, too. A program of torch.export then refuses batches of one, which its tracer
            takes for a special case; a file made from it does not.
    """
    dynamic = torch.export.Dim.DYNAMIC
    images = torch.randn(2 if any_batch else 1, 3, *size, generator=torch.Generator().manual_seed(0))
    axes = {0: dynamic, 2: dynamic, 3: dynamic} if any_batch else {2: dynamic, 3: dynamic}
    return torch.export.export(model, (images,), dynamic_shapes=(axes,), strict=False)


def compare(model: nn.Module, run: Run, size: tuple[int, int]) -> Comparison:
    """The largest difference between model and file on one random image of this size."""
    images = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(sum(size)))
    expected = model(images)
    difference = (run(images) - expected).abs().max().item()
    return Comparison(size, difference, expected.abs().max().item())


def check_sizes(traced: tuple[int, int], exportable: Exportable) -> list[tuple[int, int]]:
    """The traced size, a larger and a smaller one, neither of them square; odd where any size runs.

    >>> check_sizes((128, 128), Exportable(nn.Identity(), (128, 128), smallest=64))
    [(128, 128), (165, 202), (91, 138)]
    """
    step = exportable.multiple if exportable.multiple > 1 else 37
    height, width = traced
    nudge = step if exportable.multiple > 1 else 10
    smaller = (max(exportable.smallest, height - step), width + nudge)
    return [traced, (height + step, width + 2 * step), smaller]


def _find(what: str) -> tuple[Project, str | None]:
    """The project, and the config when one was named."""
    if what in list_projects():
        return get_project(what), None
    cfg = load_config(what)
    kind = cfg.model.get("type")
    kind = MODELS.get(kind) if isinstance(kind, str) else kind
    for name in list_projects():
        if getattr(kind, "__module__", "").startswith(f"{get_project(name).package}."):
            return get_project(name), what
    raise UserError(f"{what} builds a model of no installed project; name a project or one of its configs.")


def _target(what: str, weights: Path | None, out: str | Path | None, kind: str, force: bool) -> Path:
    suffix = SUFFIXES[kind]
    beside = Path(f"{config_name(what)}{suffix}") if weights is None else weights.with_suffix(suffix)
    target = beside if out is None else Path(out).expanduser()
    if target.suffix != suffix:
        raise UserError(f"{target} is no name for this format; it must end in {suffix}.")
    if target.exists() and not force:
        raise UserError(f"{target} exists; name another file with --out, or replace it with --force.")
    return target


def _checked_size(size: tuple[int, int], exportable: Exportable) -> tuple[int, int]:
    if min(size) < exportable.smallest or any(side % exportable.multiple for side in size):
        rule = f" and multiples of {exportable.multiple}" if exportable.multiple > 1 else ""
        raise UserError(f"The size {size[0]} x {size[1]} does not run: sides must be at least {exportable.smallest}"
                        f"{rule} pixels.")
    return size[0], size[1]


def _facts(project: Project, weights: Path | None, exportable: Exportable, kind: str) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "project": project.name,
        "input": f"{INPUT}: float32 ({'B' if kind == 'onnx' else 1}, 3, H, W), RGB in 0..1, minus mean, over std",
        "smallest_side": exportable.smallest,
        "side_multiple": exportable.multiple,
    }
    if weights is not None:
        with weights.open("rb") as stream:
            facts["weights_sha256"] = hashlib.file_digest(stream, "sha256").hexdigest()
    return {**facts, **exportable.metadata}


def _write_onnx(program: torch.export.ExportedProgram, path: Path, metadata: Mapping[str, str]) -> Run:
    return onnx_file.write(program, path, metadata, INPUT, OUTPUT)


def _write_program(program: torch.export.ExportedProgram, path: Path, metadata: Mapping[str, str]) -> Run:
    torch.export.save(program, path, extra_files={METADATA: json.dumps(metadata, indent=2)})
    module = torch.export.load(path).module()
    return lambda images: module(images)


def _refuse_difference(comparisons: Sequence[Comparison]) -> None:
    for found in comparisons:
        if not found.difference <= TOLERANCE * max(found.largest, 1e-6):
            raise WeightsError(f"The exported file differs from the model by {found.difference:.2g} at {found.size[0]} "
                               f"x {found.size[1]} pixels (largest output {found.largest:.2g}); it was not written. "
                               "Try the other --format.")


@contextmanager
def _for_tracing() -> Iterator[None]:
    """Without the exporters' chatter, and without attention's fused inference path, which has no exchange format."""
    loggers = [logging.getLogger(name) for name in _NOISY]
    levels = [logger.level for logger in loggers]
    fused = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
