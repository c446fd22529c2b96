"""The toy task of tests/engine/task, importable in this process and in child processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

TASK = Path(__file__).resolve().parent / "task"
if str(TASK) not in sys.path:
    sys.path.insert(0, str(TASK))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(TASK), os.environ.get("PYTHONPATH")]))


@pytest.fixture
def toy_config() -> Path:
    """A config file of the toy task: 40 steps, a validation every 20, a checkpoint every 10."""
    return TASK / "toy_config.py"


@pytest.fixture
def train_toy(toy_config: Path) -> Callable[..., dict[str, Any]]:
    """`train_toy(work_dir, "a.b=c", ..., seed=1)` trains the toy task and returns its metrics."""
    from clipapps.engine import runner
    from clipapps.engine.config import load_config

    def train(work_dir: Path, *overrides: str, **arguments: Any) -> dict[str, Any]:
        return runner.train(load_config(toy_config, overrides), work_dir, **arguments)

    return train


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of 40 steps with everything in it that a resume could get wrong."""
    from engine_comparison import OVERRIDES

    from clipapps.engine import runner
    from clipapps.engine.config import load_config

    folder = tmp_path_factory.mktemp("undisturbed")
    runner.train(load_config(TASK / "toy_config.py", OVERRIDES), folder)
    return folder


class ForkServer:
    """`clipapps` command lines in children that share one start of Python and torch; see engine_fork_server.py."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([sys.executable, str(TASK / "engine_fork_server.py")], text=True,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)

        self.status: int | None = None

    def start(self, *arguments: str | Path, **job: Any) -> int:
        """Start a command line and return its process id; `job` slows it or fills the disk under it."""
        self.status = None
        self._process.stdin.write(json.dumps({"arguments": [str(word) for word in arguments], **job}) + "\n")
        self._process.stdin.flush()
        return int(next(line.split()[1] for line in self.lines() if line.startswith("child ")))

    def lines(self) -> Iterator[str]:
        """What the child says, to its end."""
        while True:
            line = self._process.stdout.readline()
            assert line, "the fork server has ended"
            yield line
            if line.startswith("ended "):
                self.status = int(line.split()[1])
                return

    def wait(self) -> int:
        """The exit status of the child, negative for a signal."""
        for _ in self.lines():
            pass
        return self.status

    def close(self) -> None:
        """End the server."""
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """One for all tests; they run one command line at a time."""
    server = ForkServer()
    yield server
    server.close()
