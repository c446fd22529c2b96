"""Pickles that hold more than tensors, for `clipapps convert --trust`: read in a process of their own.

Old training checkpoints hold histories, numpy scalars, or whole objects beside their tensors, which the reader of
`clipapps.safe_load` refuses. Here torch's restricted unpickler reads them in a child process, where every type that it
does not know is replaced by an empty dict: nothing that the file names is imported, called, or kept. What arrives is
tensors and plain values.

    python -m clipapps.engine.trusted_load old.pth plain.pth
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

from clipapps import safe_load
from clipapps.engine import checkpoint
from clipapps.errors import ClipAppsError, WeightsError

#: a file that names more types than this is no checkpoint
MAX_TYPES = 200
_BUILTIN = "builtins."


def load_trusted(path: str | Path) -> dict[str, Any]:
    """Tensors and plain values of a pickle that `checkpoint.load` refuses, read by a child process.

    Raises:
        WeightsError: it is damaged, or names a module (os, sys) that no checkpoint needs.
    """
    with tempfile.TemporaryDirectory(prefix="clipapps-") as folder:
        plain = Path(folder) / "plain.pth"
        # -P: modules that lie in the folder of a download are not imported
        child = subprocess.run([sys.executable, "-P", "-m", __name__, str(path), str(plain)], capture_output=True,
                               text=True, check=False)
        if child.returncode != 0 or not plain.is_file():
            said = child.stderr.strip().splitlines()
            raise WeightsError(said[-1] if said else f"{path} stopped its reader (exit code {child.returncode}).")
        return checkpoint.load(plain)


class StandIn:
    """Takes the place of a type that a pickle names: whatever is made of it is an empty dict, which takes items.

    >>> StandIn("rm", ["-r"])
    OrderedDict()
    """

    def __new__(cls, *_: Any) -> OrderedDict[Any, Any]:  # type: ignore[misc]  # noqa: D102
        return OrderedDict()


class NumpyStandIn:
    """The same for numpy's types, whose state is no dict."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def read_without_types(path: str | Path) -> dict[str, Any]:
    """What `safe_load.load` returns, each type that the file names replaced by a `StandIn`.

    Raises:
        WeightsError: see `load_trusted`.
    """
    names: set[str] = set()
    while True:
        try:
            with torch.serialization.safe_globals([(_stand_in(name), name) for name in names]):
                return safe_load.load(path)
        except safe_load.ForeignTypesError as error:
            # torch leaves "builtins." out of its message
            new = {spelled for name in error.names for spelled in (name, _BUILTIN + name)} - names
            if not new or len(names) > 2 * MAX_TYPES:
                raise WeightsError(f"{path} was not read, not even with --trust: {_reason(error)}") from error
            names |= new


def _reason(error: BaseException) -> str:
    """Torch's own words about the first thing that it refused, which stand between two paragraphs of advice."""
    paragraphs = [text.strip() for text in str(error.__cause__).split("\n\n") if text.strip()]
    return paragraphs[-2 if len(paragraphs) > 2 else -1]


def _stand_in(name: str) -> type:
    return NumpyStandIn if name.startswith("numpy.") else StandIn


def only_plain(value: Any) -> Any:
    """The nested value without what is neither a tensor nor plain; tuples become lists.

    >>> only_plain({"a": (1, object()), "b": object()})
    {'a': [1]}
    """
    if isinstance(value, dict):
        return {key: only_plain(item) for key, item in value.items()
                if _is_plain(item) and isinstance(key, str | int | float)}
    if isinstance(value, list | tuple):
        return [only_plain(item) for item in value if _is_plain(item)]
    return value


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, torch.Tensor | str | bool | int | float | dict | list | tuple)


def main(source: str, target: str) -> int:
    """Read a pickle and write its tensors and plain values; returns the exit code."""
    try:
        checkpoint.save(only_plain(read_without_types(source)), target)
    except ClipAppsError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
