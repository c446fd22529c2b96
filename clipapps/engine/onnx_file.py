"""The only module that knows ONNX: writing a traced program, and running the file as its users will."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clipapps.errors import UserError

PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def require_packages() -> None:
    """Raise UserError with the way out when a package that ONNX files need is absent."""
    absent = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if absent:
        raise UserError(f"ONNX files need {', '.join(absent)}, which this installation lacks: "
                        "pip install \"clipapps[export]\".")


def write(program: torch.export.ExportedProgram, path: Path, metadata: Mapping[str, str], input_name: str,
          output_name: str) -> Callable[[Tensor], Tensor]:
    """Write a program of one input (B, 3, H, W) and one output as a single ONNX file; returns what runs that file.

    Args:
        metadata: goes into the file's metadata properties.
    """
    onnx = torch.onnx.export(program, input_names=[input_name], output_names=[output_name], dynamo=True, verbose=False)
    assert onnx is not None
    if hasattr(onnx, "rename_axes"):  # otherwise the axes keep the tracer's names, such as s14
        axes: Any = onnx.model.graph.inputs[0].shape
        onnx.rename_axes({axes[0]: "batch", axes[2]: "height", axes[3]: "width"})
    onnx.model.metadata_props.update(metadata)
    onnx.save(str(path), external_data=False)
    return runner(path)


def runner(path: str | Path) -> Callable[[Tensor], Tensor]:
    """What runs an ONNX file of one input and one output on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: torch.from_numpy(session.run(None, {name: images.numpy()})[0])
