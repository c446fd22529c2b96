"""Files that are either whole or not there: written under a temporary name, flushed to disk, then renamed."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from clipapps.errors import DiskError

_OUT_OF_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def atomic_file(path: str | Path, mode: str = "wb", *, expected_bytes: int = 0) -> Iterator[IO[Any]]:
    """Open a temporary file beside `path` for writing; it replaces `path` when the block ends without an error.

    The file is fsynced before the rename and the folder after it, so a crash leaves the old content or the new one,
    never a mixture. Creates missing parent folders.

    Args:
        path: the final name.
        mode: "wb" or "w" (then UTF-8).
        expected_bytes: size to ask the disk for before writing anything; 0 skips the check.

    Raises:
        DiskError: the folder cannot be written or the disk is full; no temporary file is left.
    """
    final = Path(path)
    temporary = final.with_name(f"{final.name}.tmp-{os.getpid()}")
    written = 0
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        _require_free(final.parent, expected_bytes)
        with open(temporary, mode, encoding=None if "b" in mode else "utf-8") as stream:
            permissions = os.fstat(stream.fileno()).st_mode
            try:
                yield stream
                stream.flush()
            finally:
                written = _size_of(temporary)
        os.chmod(temporary, permissions)  # a library that writes by name may have put its own file in this place
        _sync(temporary)
        os.replace(temporary, final)
        _sync(final.parent)
    except BaseException as error:
        _remove(temporary)
        if isinstance(error, OSError) or _is_write_failure(error):
            raise _disk_error(final, error, max(expected_bytes, written)) from error
        raise


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_file(path, "w") as stream:
        stream.write(text)


def write_json(path: str | Path, content: Any) -> None:
    """Write an indented JSON file atomically."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def remove_stale(folder: str | Path) -> list[Path]:
    """Delete the temporary files that a killed process left in `folder`; those of live processes stay.

    Returns:
        the files that were deleted.
    """
    removed = []
    for leftover in Path(folder).glob("*.tmp-*"):
        owner = leftover.name.rpartition("-")[2]
        if owner.isdigit() and (int(owner) == os.getpid() or not _is_running(int(owner))):
            _remove(leftover)
            removed.append(leftover)
    return removed


def _require_free(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(errno.ENOSPC, "not enough free space")


def _is_write_failure(error: BaseException) -> bool:
    """True for torch's zip writer, which turns a failed write into a RuntimeError about its stream."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError):
            return True
        cause = cause.__cause__ or cause.__context__
    return isinstance(error, RuntimeError) and ("unexpected pos" in str(error) or "PytorchStreamWriter" in str(error))


def _disk_error(path: Path, error: BaseException, needed: int) -> DiskError:
    reason = (error.strerror if isinstance(error, OSError) and error.strerror else str(error)).strip().splitlines()[0]
    folder = next((parent for parent in path.parents if parent.exists()), Path("/"))
    free = shutil.disk_usage(folder).free
    code = error.errno if isinstance(error, OSError) else errno.ENOSPC
    if isinstance(error, OSError) and code == errno.ENOSPC and needed < free:
        reason += "; there are bytes, so it may be out of inodes (df -i)"
    space = f" ({free:,} bytes free, {needed:,} needed)" if code in _OUT_OF_SPACE else ""
    way_out = "Free some space or choose another folder." if space else "Choose a folder that can be written."
    return DiskError(f"{path} cannot be written: {reason}{space}. {way_out}")


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # the folder itself is gone or read-only; the first error is the one worth telling
        pass


def _sync(path: Path) -> None:
    """Force a file or a folder's list of names to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
