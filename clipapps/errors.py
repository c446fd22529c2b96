"""The errors a user can meet, each with the exit code that the command line returns for it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_ALLOCATORS_SAY = ("can't allocate memory", "out of memory", "ALLOC_FAILED")  # host, device, and its libraries


class ClipAppsError(Exception):
    """Base of every error with a message written for the user; `exit_code` is the command line's answer."""

    exit_code = 1


class UserError(ClipAppsError):
    """The input is wrong: what was found, what was expected, and what to do next, in one or two sentences."""

    exit_code = 2


class ConfigError(UserError):
    """A config or an override is wrong; the message lists every finding, one a line."""


class WeightsError(UserError):
    """Weights are missing, unsafe, damaged, or belong to another model."""


class DataError(UserError):
    """A data folder is missing, empty, or laid out differently from what the dataset reads."""


class BadSampleError(DataError):
    """One sample cannot be used; the message names its file and the reason."""


class SampleError(ClipAppsError):
    """Preparing one sample raised an error of another kind; the message names sample and worker."""


class WorkerError(ClipAppsError):
    """Data workers were killed or hung more than once; the message names worker and sample."""


class DiskError(ClipAppsError):
    """Writing failed (disk full, read-only folder); nothing half-written is left behind."""

    exit_code = 3


class OutOfMemoryError(ClipAppsError):
    """The memory of the machine or of its accelerator is not enough; the message names cures."""

    exit_code = 4


class NonFiniteLossError(ClipAppsError):
    """The loss is not finite."""

    exit_code = 5


def is_out_of_memory(error: BaseException) -> bool:
    """True for MemoryError and for torch's device and host allocators, told by name: torch may not be imported yet."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"MemoryError", "OutOfMemoryError"}) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _ALLOCATORS_SAY))


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """The sentence " Did you mean 'x'?" for the nearest candidate, or an empty string.

    >>> did_you_mean("dencelip", ["denseclip", "backlit"])
    " Did you mean 'denseclip'?"
    """
    nearest = difflib.get_close_matches(name, list(candidates), n=1, cutoff=0.6)
    return f" Did you mean {nearest[0]!r}?" if nearest else ""
