"""Ctrl-C and SIGTERM end training after the step at hand, with everything saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_CAUGHT = (signal.SIGINT, signal.SIGTERM)


class Stopped(SystemExit):
    """Training was stopped by a signal after saving; `code` is 128 + the signal's number, as a shell has it."""


class Interruption:
    """The first signal is noted; the second does what it always did, which ends the process at once.

    Args:
        previous: the handlers to put back.
    """

    def __init__(self, previous: dict[int, Any]) -> None:
        self.signal: signal.Signals | None = None
        self._previous = previous

    def note(self, number: int, frame: FrameType | None) -> None:
        """The handler: remember the signal, and let the next one through."""
        self.signal = signal.Signals(number)
        for caught in _CAUGHT:
            signal.signal(caught, self._previous[caught])
        self._previous = {}

    def restore(self) -> None:
        """Put the handlers back that were there before."""
        for caught, handler in self._previous.items():
            signal.signal(caught, handler)


@contextmanager
def noted_signals() -> Iterator[Interruption]:
    """Inside the block SIGINT and SIGTERM are noted instead of obeyed; outside the main thread nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield Interruption({})
        return
    interruption = Interruption({caught: signal.getsignal(caught) for caught in _CAUGHT})
    for caught in _CAUGHT:
        signal.signal(caught, interruption.note)
    try:
        yield interruption
    finally:
        interruption.restore()
