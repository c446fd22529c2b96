"""The only reader and the only writer of checkpoints.

Reading never runs code: `.safetensors` after a look at its header, everything else through torch's restricted
unpickler, nothing else at all. Writing is atomic: a checkpoint is whole or it is not there.
"""

from __future__ import annotations

import errno
import json
import re
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from clipapps.engine.atomic import atomic_file
from clipapps.engine.plain import from_plain, to_plain
from clipapps.errors import WeightsError

MAX_FILE_BYTES = 64 * 2**30
MAX_HEADER_BYTES = 16 * 2**20
MAX_ENTRIES = 65_536
_PICKLE_SUFFIXES = {".pt", ".pth", ".bin", ".ckpt", ".tar"}
_REFUSED_SUFFIXES = {".pkl", ".pickle", ".npy", ".npz", ".joblib", ".jit", ".onnx", ".h5"}
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
    file = _existing_file(path)
    suffix = file.suffix.lower()
    if suffix == ".safetensors":
        return _load_safetensors(file)
    if suffix in _REFUSED_SUFFIXES or suffix not in _PICKLE_SUFFIXES:
        raise WeightsError(f"{file} is not read: weights are .safetensors, or .pt, .pth, .bin and .ckpt without code."
                           f"{_convert_hint(file)}")
    return from_plain(_load_restricted(file))


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
    """The metadata of a safetensors file; an empty dict for every other kind."""
    file = _existing_file(path)
    return _read_header(file).get("__metadata__", {}) if file.suffix.lower() == ".safetensors" else {}


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


def _existing_file(path: str | Path) -> Path:
    file = Path(path).expanduser()
    if file.is_dir():
        raise WeightsError(f"{file} is a folder; name the weights file in it.")
    if not file.is_file():
        raise WeightsError(f"There is no weights file {file}.")
    size = file.stat().st_size
    if size == 0:
        raise WeightsError(f"{file} is empty. Copy or download it again.")
    if size > MAX_FILE_BYTES:
        raise WeightsError(f"{file} has {size:,} bytes; more than {MAX_FILE_BYTES:,} are not read.")
    return file


def _load_safetensors(file: Path) -> dict[str, torch.Tensor]:
    header = _read_header(file)
    if len(header) > MAX_ENTRIES:
        raise WeightsError(f"{file} lists {len(header):,} tensors; more than {MAX_ENTRIES:,} are not read.")
    try:
        return load_file(file)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{file} is damaged or not a safetensors file: {error}. "
                           "Copy or download it again.") from error


def _read_header(file: Path) -> dict[str, Any]:
    """The JSON header of a safetensors file, refused before parsing when it claims to be too large."""
    with open(file, "rb") as stream:
        prefix = stream.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else -1
        if not 2 <= length <= min(MAX_HEADER_BYTES, file.stat().st_size - 8):
            raise WeightsError(f"{file} is damaged or not a safetensors file (its header claims {length:,} bytes). "
                               f"Copy or download it again.{_convert_hint(file) if _looks_pickled(prefix) else ''}")
        try:
            header = json.loads(stream.read(length).decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise WeightsError(f"{file} is damaged: its header is no valid JSON. "
                               "Copy or download it again.") from error
    if not isinstance(header, dict):
        raise WeightsError(f"{file} is damaged: its header is no JSON object. Copy or download it again.")
    return header


def _load_restricted(file: Path) -> dict[str, Any]:
    """Open a `torch.save` file with the restricted unpickler, after refusing archives that it should never see."""
    _refuse_odd_archives(file)
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        names = _refused_names(file, str(error))
        if names:
            raise WeightsError(f"{file} is not loaded: it asks to run {', '.join(names)}.{_convert_hint(file)}"
                               ) from error
        raise WeightsError(f"{file} is damaged or not a checkpoint: {_first_line(error)} "
                           "Copy or download it again.") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{file} holds a {type(content).__name__}, not a dict of weights.")
    return content


def _refuse_odd_archives(file: Path) -> None:
    """Raise for TorchScript (it is code) and for compressed members (torch never writes them; bombs do)."""
    if not zipfile.is_zipfile(file):
        return
    try:
        members = zipfile.ZipFile(file).infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise WeightsError(f"{file} is damaged: {error}. Copy or download it again.") from error
    if any(member.filename.endswith(("/constants.pkl", "/code/")) or "/code/" in member.filename for member in members):
        raise WeightsError(f"{file} is not read: it is a TorchScript archive, which is code.{_convert_hint(file)}")
    if len(members) > MAX_ENTRIES or any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise WeightsError(f"{file} is not read: it was not written by torch.save "
                           "(compressed or far too many entries).")


def _refused_names(file: Path, message: str) -> list[str]:
    """The functions and classes outside the restricted unpickler's list that the file asks for."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(file)
    except Exception:  # damaged, or an old format that this look does not read: torch's message names the first one
        names = re.findall(r"GLOBAL ([\w.]+)", message)
    return sorted(set(names))


def _looks_pickled(prefix: bytes) -> bool:
    return prefix[:2] == b"PK" or prefix[:1] == b"\x80"


def _convert_hint(file: Path) -> str:
    return (f" If you trust its source, `clipapps convert PROJECT {file} OUT.safetensors --trust` "
            "turns it into a safe file.")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".") + "."


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
