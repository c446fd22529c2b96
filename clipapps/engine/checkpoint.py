"""Checkpoints and weights: read under the policy of `clipapps.safe_load`, written atomically with plain contents.

Reading never runs code. A checkpoint is whole or it is not there.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from clipapps import safe_load
from clipapps.engine.atomic import atomic_file
from clipapps.engine.plain import from_plain, to_plain
from clipapps.errors import WeightsError

_SHOWN = 6
_WRAPPERS = ("state_dict", "model_state_dict", "model", "module")
_PREFIXES = ("module.", "model.", "backbone.", "net.", "visual.")


def load(path: str | Path) -> dict[str, Any]:
    """Read a weights file or a checkpoint without running any code from it; tensors arrive on the CPU.

    Returns:
        for `.safetensors` name -> tensor; otherwise the dict that was saved, with the message hub's history rebuilt.

    Raises:
        WeightsError: the file is missing, empty, damaged, of a kind that is not read here, or wants to run code.
    """
    content: dict[str, Any] = from_plain(safe_load.load(path))
    return content


def save(content: dict[str, Any], path: str | Path, *, expected_bytes: int = 0) -> None:
    """Write a checkpoint atomically, with contents made plain (see `clipapps.engine.plain`).

    Args:
        content: nested dicts and lists of tensors, numbers, strings; numpy values and `HistoryBuffer`s are converted.
        path: the final name, `.pth` by custom.
        expected_bytes: free space to insist on first.

    Raises:
        DiskError: it cannot be written; what was at `path` before is untouched.
    """
    plain = to_plain(content)
    with atomic_file(path, "wb", expected_bytes=expected_bytes) as stream:
        torch.save(plain, stream)


def save_weights(tensors: Mapping[str, torch.Tensor], path: str | Path,
                 metadata: Mapping[str, Any] | None = None) -> None:
    """Write name -> tensor as safetensors, atomically.

    Args:
        tensors: a state dict; shared tensors are stored once per name.
        path: the final name.
        metadata: what the weights are (config name, class names, metric); values other than strings become JSON.

    Raises:
        DiskError: it cannot be written.
    """
    texts = {key: value if isinstance(value, str) else json.dumps(to_plain(value))
             for key, value in (metadata or {}).items()}
    with atomic_file(path, "wb") as stream:
        try:
            save_file(_unshared(tensors), stream.name, metadata=texts)
        except SafetensorError as error:  # its I/O errors carry the system's words, not the system's type
            raise OSError(errno.EFBIG, str(error)) from error


def read_metadata(path: str | Path) -> dict[str, str]:
    """What `save_weights` was told about the weights; an empty dict for every kind of file but safetensors."""
    return safe_load.load_safetensors(Path(path))[1] if Path(path).suffix == ".safetensors" else {}


def state_dict_of(content: Mapping[str, Any], source: str = "The file") -> dict[str, torch.Tensor]:
    """The name -> tensor part of what `checkpoint.load` returned: plain, or inside an mmengine checkpoint.

    Raises:
        WeightsError: there are no tensors in it.
    """
    for key in _WRAPPERS:
        inner = content.get(key)
        if isinstance(inner, Mapping) and any(isinstance(value, torch.Tensor) for value in inner.values()):
            return {name: value for name, value in inner.items() if isinstance(value, torch.Tensor)}
    tensors = {name: value for name, value in content.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise WeightsError(f"{source} holds no weights (its keys: {', '.join(map(str, list(content)[:_SHOWN]))}).")
    return tensors


def load_weights(model: nn.Module, path: str | Path, strict: bool = True, *,
                 content: Mapping[str, Any] | None = None) -> None:
    """Put the weights of a file into a model; accepts safetensors, plain state dicts and mmengine checkpoints.

    A file of `trained_part.save_trained_part` is completed by the model's own CLIP.

    Args:
        model: a model of the class the weights come from.
        path: the file; a leading "module." of distributed training is dropped from its names.
        strict: False loads what fits and leaves the rest of the model as it is.
        content: what `load(path)` returned, when it was read before; `path` then only names it.

    Raises:
        WeightsError: names or shapes differ (strict), or nothing fits at all; the message is a short table.
    """
    state = state_dict_of(load(path) if content is None else content, str(path))
    if all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    if (files := read_metadata(path).get("clip_files")) is not None:
        from clipapps.engine.clip_files import add_clip  # late: it imports all of CLIP

        state = add_clip(model, state, files, path)
    own = model.state_dict()
    misfits = {name for name in state if name in own and own[name].shape != state[name].shape}
    missing, unexpected = sorted(set(own) - set(state)), sorted(set(state) - set(own))
    if (strict and (missing or unexpected or misfits)) or not set(own) & (set(state) - misfits):
        raise WeightsError(mismatch_table(own, state, f"{path} does not fit {type(model).__name__}"))
    model.load_state_dict({name: tensor for name, tensor in state.items() if name in own and name not in misfits},
                          strict=False)


def mismatch_table(own: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor], title: str) -> str:
    """What is missing, unexpected, and of another shape, a few names each, with a hint when a known prefix fits."""
    missing, unexpected = sorted(set(own) - set(state)), sorted(set(state) - set(own))
    shapes = [f"{name} (file {tuple(state[name].shape)}, model {tuple(own[name].shape)})"
              for name in sorted(set(own) & set(state)) if own[name].shape != state[name].shape]
    lines = [f"{title}: {len(missing)} missing, {len(unexpected)} unexpected, {len(shapes)} of another shape."]
    for label, names in (("missing", missing), ("unexpected", unexpected), ("shape", shapes)):
        if names:
            more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            lines.append(f"  {label + ':':<12}{', '.join(names[:_SHOWN])}{more}")
    hint = _prefix_hint(set(own), set(state))
    lines.append(f"  {hint}" if hint else "  Use the weights of this config, or the config of these weights.")
    return "\n".join(lines)


def _unshared(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """CPU copies where needed: safetensors stores no two names for one memory and no strided views."""
    plain: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        if own.untyped_storage().data_ptr() in seen:
            own = own.clone()
        seen.add(own.untyped_storage().data_ptr())
        plain[name] = own
    return plain


def _prefix_hint(own: set[str], state: set[str]) -> str:
    """A sentence when adding or dropping one known prefix would make more than half of the names fit."""
    fits = len(own & state)
    for prefix in _PREFIXES:
        dropped = {name.removeprefix(prefix) for name in state if name.startswith(prefix)}
        if len(dropped & own) > max(fits, len(own) // 2):
            return f"hint: the file's names fit after dropping their prefix {prefix!r}."
        added = {prefix + name for name in state}
        if len(added & own) > max(fits, len(state) // 2):
            return f"hint: the file holds what the model calls {prefix!r}; load it into that part."
    return ""
