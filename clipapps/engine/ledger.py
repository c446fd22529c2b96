"""What has been predicted into a folder, so that the same command goes on where it was stopped."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clipapps.errors import DiskError

FILE_NAME = "predictions.jsonl"


class Ledger:
    """The list `predictions.jsonl` in a folder of results: source, how they were made, and their files, a line each.

    A line is written when the results of a source are complete. A source counts as done when its last line was made
    with the same settings, the source has not changed since, and the results are still there.

    Args:
        folder: of the results.
        settings: whatever the results depend on, as plain values.
    """

    def __init__(self, folder: str | os.PathLike[str], settings: Any) -> None:
        self.folder, self.settings = Path(folder), json.dumps(settings, sort_keys=True, default=str)
        self._lines = self._read()

    @property
    def outputs(self) -> set[Path]:
        """The resolved paths of all results that are listed."""
        return {(self.folder / name).resolve() for line in self._lines.values() for name in line["outputs"]}

    def is_done(self, source: Path) -> bool:
        """Whether the results of a source are there and would come out the same."""
        line = self._lines.get(_name_of(source))
        return line is not None and line["made_from"] == self._fingerprint(source) and all(
            (self.folder / name).is_file() for name in line["outputs"])

    def add(self, source: Path, outputs: Sequence[Path]) -> None:
        """Note the complete results of a source.

        Raises:
            DiskError: the list cannot be written.
        """
        line: dict[str, Any] = dict(source=_name_of(source), made_from=self._fingerprint(source),
                                    outputs=[os.path.relpath(path, self.folder) for path in outputs])
        self._lines[line["source"]] = line
        try:
            with open(self.folder / FILE_NAME, "a", encoding="utf-8") as stream:
                stream.write(json.dumps(line, ensure_ascii=False) + "\n")
        except OSError as error:
            raise DiskError(f"{self.folder / FILE_NAME} cannot be written: {error.strerror}.") from error

    def _read(self) -> dict[str, dict[str, Any]]:
        """The last line of each source; one that a killed process left unfinished, or any other text, says nothing."""
        lines: dict[str, dict[str, Any]] = {}
        try:
            text = (self.folder / FILE_NAME).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return lines
        for written in text.splitlines():
            try:
                line = json.loads(written)
                outputs = [str(name) for name in line["outputs"]]
                lines[line["source"]] = dict(made_from=line["made_from"], outputs=outputs)
            except (ValueError, KeyError, TypeError):
                continue
        return lines

    def _fingerprint(self, source: Path) -> str:
        facts = source.stat()
        return hashlib.sha256(f"{facts.st_size} {facts.st_mtime_ns} {self.settings}".encode()).hexdigest()[:16]


def _name_of(source: Path) -> str:
    return str(source.resolve())
