"""What goes wrong while the parts of a config are built is told with the key and the class."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from clipapps.errors import ClipAppsError, ConfigError

_OF_WRONG_VALUES = (TypeError, ValueError, AssertionError, KeyError, AttributeError, IndexError, FileNotFoundError,
                    NotADirectoryError, ZeroDivisionError, RuntimeError)


@contextmanager
def built_from(key: str) -> Iterator[None]:
    """Inside the block objects are built from the config's `key`; a constructor's complaint is the config's fault.

    Raises:
        ConfigError: names the key, the innermost class that was being built, and its complaint.
    """
    try:
        yield
    except ClipAppsError:
        raise
    except _OF_WRONG_VALUES as error:
        if isinstance(error, RuntimeError) and ("memory" in str(error) or "CUDA" in str(error)):
            raise  # the machine's fault
        owner = _innermost_class(error)
        raise ConfigError(f"{key}: {f'{owner} ' if owner else ''}cannot be built: {_complaint(error)}. "
                          "Look at its values in the config; --traceback shows where it happened.") from error


def _innermost_class(error: BaseException) -> str:
    """The class whose `__init__` is deepest in the traceback; empty without one."""
    owner, trace = "", error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        if frame.f_code.co_name == "__init__" and "self" in frame.f_locals:
            owner = type(frame.f_locals["self"]).__name__
        trace = trace.tb_next
    return owner


def _complaint(error: BaseException) -> str:
    """The error's words; of a bare assertion its source line."""
    words = " ".join(str(error).split()).rstrip(".")
    if isinstance(error, AssertionError) and not words:
        words = (traceback.extract_tb(error.__traceback__)[-1].line or "").removeprefix("assert ")
        return f"this must hold: {words}"
    return words if isinstance(error, (FileNotFoundError, AssertionError)) else f"{type(error).__name__}: {words}"
