"""The one policy for reading weights: tensors and plain values only, never code.

`.safetensors` files are read by safetensors after their header was measured; `.pt`, `.pth`, `.bin`, and `.ckpt` by
torch's restricted unpickler; TorchScript archives (OpenAI's CLIP files) by an unpickler that knows tensors alone and
never runs the code inside. Everything else is refused.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import re
import shlex
import struct
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from clipapps.errors import WeightsError

TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")
#: the largest published CLIP has about 2,000 tensors and a header of 0.3 MB
MAX_HEADER_BYTES = 16 * 2**20
MAX_TENSORS = 50_000


class ForeignTypesError(WeightsError):
    """A pickle holds more than tensors and plain values; `names` are the types it asked for first."""

    def __init__(self, path: Path, names: list[str]) -> None:
        asked = f" (it asks for {', '.join(names[:5])})" if names else ""
        super().__init__(f"{path} was not read: it is a pickle that holds more than tensors and plain values{asked}, "
                         "and reading such a file can run code. Ask its author for safetensors or, if you trust it, "
                         f"make safetensors of it: clipapps convert --trust {shlex.quote(str(path))}")
        self.names = names


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a checkpoint or weights file without running anything that it contains.

    Returns:
        what the file holds: for safetensors and TorchScript a flat dict of tensors on the CPU.

    Raises:
        WeightsError: the file is missing, damaged, of a kind that is refused, or asks for code.
    """
    path = Path(path)
    _require_file(path)
    if path.suffix == ".safetensors":
        return load_safetensors(path)[0]
    if path.suffix in TORCH_SUFFIXES:
        return _load_torchscript(path) if _is_torchscript(path) else _load_torch(path)
    raise WeightsError(f"{path} is not a kind of weights file that is read here; expected .safetensors or "
                       f"{', '.join(TORCH_SUFFIXES)}.")


def load_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file; raises WeightsError when it is missing, damaged, or oversized."""
    _require_file(path)
    _measure_safetensors(path)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path} is not a whole safetensors file ({error}); download or export it again.") from error


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise WeightsError(f"There is no weights file {path}.")


def _measure_safetensors(path: Path) -> None:
    """Refuse a header that would cost minutes or gigabytes before anything parses it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else -1
        if not 2 <= length <= size - 8:
            raise WeightsError(f"{path} is not a whole safetensors file (its header does not fit in its {size} "
                               "bytes); download or export it again.")
        if length > MAX_HEADER_BYTES:
            raise WeightsError(f"{path} has a header of {length} bytes; more than {MAX_HEADER_BYTES} is refused.")
        header = file.read(length)
        try:
            # Counted as text first: building a million dicts to count them would take seconds.
            entries = json.loads(header) if header.count(b'"data_offsets"') <= MAX_TENSORS else None
        except (ValueError, RecursionError) as error:
            raise WeightsError(f"{path} is not a whole safetensors file (its header is not JSON).") from error
    if not isinstance(entries, dict) or len(entries) > MAX_TENSORS:
        raise WeightsError(f"{path} does not list between 0 and {MAX_TENSORS} tensors; it is refused.")


def _refuse_bomb(path: Path, archive: zipfile.ZipFile, prefix: str = "") -> None:
    """torch stores tensors uncompressed; a compressed member below `prefix` may unpack to any size."""
    if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()
           if member.filename.startswith(prefix)):
        raise WeightsError(f"{path} is refused: its tensors are compressed, which torch never writes.")


def _load_torch(path: Path) -> dict[str, Any]:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                _refuse_bomb(path, archive)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ForeignTypesError(path, _types_in(str(error))) from error
    except WeightsError:
        raise
    except Exception as error:  # a damaged zip or pickle raises anything from EOFError to RuntimeError
        reason = str(error).strip().splitlines()[0][:150] if str(error).strip() else type(error).__name__
        raise WeightsError(f"{path} is damaged or no torch checkpoint ({reason}); save it again.") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds a {type(content).__name__}; expected a dict of tensors.")
    return content


def _types_in(message: str) -> list[str]:
    return sorted(set(re.findall(r"GLOBAL ([\w.]+)", message)))


def _is_torchscript(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):  # the last: a format version of its own
        return False


class _ScriptModule:
    """Stands for any class of the archive: keeps its attributes, knows no methods."""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)


_STORAGE_DTYPES = {
    "FloatStorage": torch.float32, "HalfStorage": torch.float16, "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}


def _rebuild_tensor(storage: Tensor, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
    if math.prod(size) > storage.numel():
        raise ValueError("a tensor larger than what is stored of it")
    return torch.as_strided(storage, tuple(size), tuple(stride), offset)


class _TensorUnpickler(pickle.Unpickler):
    """Rebuilds tensors from a TorchScript archive; every other global is refused or becomes an inert object."""

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(archive.open(f"{root}/data.pkl"))
        self._archive, self._root = archive, root
        self._storages: dict[str, Tensor] = {}  # read once, however often the file names them

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return _ScriptModule
        if module == "torch" and name in _STORAGE_DTYPES:
            return _STORAGE_DTYPES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if module == "torch.jit._pickle" and name in ("build_intlist", "build_doublelist", "build_boollist",
                                                      "build_tensorlist"):
            return list
        raise pickle.UnpicklingError(f"GLOBAL {module}.{name}")

    def persistent_load(self, pid: Any) -> Tensor:
        _, dtype, key, *_ = pid
        if not re.fullmatch(r"\w+", str(key)):
            raise pickle.UnpicklingError(f"storage name {key!r}")
        if key not in self._storages:
            data = bytearray(self._archive.read(f"{self._root}/data/{key}"))
            self._storages[key] = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        return self._storages[key]


def _load_torchscript(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            root = next(name for name in archive.namelist() if name.endswith("/constants.pkl")).rsplit("/", 1)[0]
            _refuse_bomb(path, archive, f"{root}/data")
            tensors = _tensors_below(_TensorUnpickler(archive, root).load())
    except pickle.UnpicklingError as error:
        raise ForeignTypesError(path, _types_in(str(error))) from error
    except WeightsError:
        raise
    except Exception as error:
        raise WeightsError(f"{path} is a damaged TorchScript archive ({type(error).__name__}); download it "
                           "again.") from error
    if not tensors:
        raise WeightsError(f"{path} is a TorchScript archive without tensors.")
    return tensors


def _tensors_below(content: Any) -> dict[str, Tensor]:
    """Tensors of a script module by dotted name; a module that occurs again, as in a cycle, is not entered again."""
    tensors: dict[str, Tensor] = {}
    waiting, seen = [("", content)], set()
    while waiting:
        prefix, node = waiting.pop()
        if not isinstance(node, _ScriptModule) or id(node) in seen:
            continue
        seen.add(id(node))
        for name, value in vars(node).items():
            if isinstance(value, Tensor):
                tensors[prefix + name] = value
            else:
                waiting.append((f"{prefix}{name}.", value))
    return tensors
