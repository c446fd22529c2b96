"""The golden harness: every case folder is one test, run by the runner of its project, compared tensor by tensor.

A case is a folder `<project>/<case>/` with a `case.json` and, where it has tensors, `io.safetensors` (inputs and
expected outputs) and `state.safetensors` (weights under the names of the reference implementation). The folder
`CLIPAPPS_GOLDEN` is searched, by default `cases/` beside this file. Runners stand in `runners/<project>.py`, and in
`runners/<project>_*.py` where one file is not enough, in a dict `RUNNERS`: the entry whose name is the longest prefix
of the folder's name runs the case. `TOLERANCES` beside it holds the rules that cases state in prose, by the longest
prefix too.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
GIVEN = os.environ.get("CLIPAPPS_GOLDEN")
CASES = Path(GIVEN) if GIVEN else HERE / "cases"
SHARED = Path(os.environ.get("CLIPAPPS_SHARED", HERE.parent.parent.parent / "shared"))

#: prefix of case names -> rules, see `Case`
Tolerances = Mapping[str, Sequence[tuple[str, str, Any]]]

#: with the variable set only the cases are collected
collect_ignore = ["test_harness.py", "test_kinks.py"] if GIVEN else []

#: what a case.json says about itself; every other list or dict in a case without tensors is an expected output
ABOUT = {"case", "what", "hyper_parameters", "inputs", "outputs", "tolerance", "dtype", "device", "source", "formula"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each case folder, with the id `<project>/<case>`."""
    if "case_folder" not in metafunc.fixturenames:
        return
    folders = sorted(path.parent for path in CASES.glob("*/*/case.json"))
    if not folders:
        raise pytest.UsageError(f"There is no golden case <project>/<case>/case.json in {CASES}.")
    metafunc.parametrize("case_folder", folders, ids=[f"{folder.parent.name}/{folder.name}" for folder in folders])


@pytest.fixture
def run_case() -> Callable[[Path], None]:
    """`run_case(folder)` runs a case with its project's runner and fails with every difference at once."""
    return _run_case


@pytest.fixture
def check_case() -> Callable[..., None]:
    """`check_case(folder, runners, tolerances)` runs a case with the runners and tolerances given."""
    return _check


def _run_case(folder: Path) -> None:
    module = _runners(folder.parent.name)
    if module is None:
        pytest.fail(f"There are no runners for {folder.parent.name}: {HERE / 'runners'}/{folder.parent.name}.py.")
    _check(folder, module.RUNNERS, module.TOLERANCES)


def _check(folder: Path, runners: Mapping[str, Callable[[Case], None]], tolerances: Tolerances) -> None:
    runner = _longest_prefix(runners, folder.name)
    if runner is None:
        pytest.fail(f"No runner's name is a prefix of {folder.name!r}; there are {', '.join(sorted(runners))}.")
    case = Case(folder, tolerances[_longest_prefix(tolerances, folder.name) or ""])
    runners[runner](case)
    findings = case.findings + [f"{name}: nobody compared it" for name in case.uncompared()]
    if findings:
        pytest.fail("\n".join([f"{folder.parent.name}/{folder.name}", *findings]), pytrace=False)


def _longest_prefix(names: Iterable[str], text: str) -> str | None:
    return max((name for name in names if text.startswith(name)), key=len, default=None)


@cache
def _runners(project: str) -> SimpleNamespace | None:
    folder = HERE / "runners"
    if not (folder / f"{project}.py").is_file():
        return None
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    files = [folder / f"{project}.py", *sorted(folder.glob(f"{project}_*.py"))]
    modules = [importlib.import_module(file.stem) for file in files]
    return SimpleNamespace(**{kind: {name: value for module in modules for name, value in getattr(module, kind).items()}
                              for kind in ("RUNNERS", "TOLERANCES")})


class Case:
    """One case: its options and tensors, and the record of what was compared.

    Args:
        folder: the case folder.
        rules: (pattern of tensor names, kind, bound); the first match counts. Kinds: "abs"; "relative", to the largest
            absolute expected value; "close", (atol, rtol) element by element; "most", (atol, share of the elements that
            may be further off). Numbers in case.json take precedence.
    """

    def __init__(self, folder: Path, rules: Sequence[tuple[str, str, Any]]) -> None:
        self.folder, self.rules = folder, rules
        self.spec: dict[str, Any] = json.loads((folder / "case.json").read_text())
        self.options: dict[str, Any] = self.spec.get("hyper_parameters", {})
        self.io = self._tensors("io.safetensors")
        self.state = self._tensors("state.safetensors")
        self.findings: list[str] = []
        self._read: set[str] = set(self.spec.get("inputs", {}))
        self._compared: set[str] = set()

    def _tensors(self, name: str) -> dict[str, Any]:
        from safetensors.torch import load_file

        file = self.folder / name
        return load_file(file) if file.is_file() else {}

    def path(self, text: str) -> Path:
        """A path named in the case: below CLIPAPPS_SHARED when it begins with "shared/", else in the case folder."""
        return SHARED / text.removeprefix("shared/") if text.startswith("shared/") else self.folder / text

    def input(self, name: str) -> Any:
        """A tensor, or a value of case.json, that the case gives; it is no output."""
        self._read.add(name)
        return self.io[name] if name in self.io else self.spec[name]

    def has(self, name: str) -> bool:
        """Whether the case has a tensor of that name."""
        return name in self.io

    def expected(self) -> list[str]:
        """Names of expected outputs: tensors, or values of case.json in a case without tensors."""
        if self.io:
            return [name for name in self.io if name not in self._read]
        return [name for name, value in self.spec.items()
                if isinstance(value, (list, dict)) and name not in ABOUT | self._read]

    def names(self, prefix: str) -> list[str]:
        """Expected outputs that begin with `prefix`."""
        return [name for name in self.expected() if name.startswith(prefix)]

    def compare(self, name: str, actual: Any) -> None:
        """Compare with the expected output of that name, if the case has it."""
        import torch

        if name not in (self.io or self.spec):
            return
        self._compared.add(name)
        if not self.io and not _is_numeric(self.spec[name]):
            wrong = list(_differences(self.spec[name], actual, self._tolerance(name)[1]))
            if wrong:
                self.findings.append(f"{name}: {len(wrong)} entries differ: {wrong[:5]}")
            return
        expected = self.io[name] if self.io else torch.tensor(self.spec[name], dtype=torch.float64)
        actual = actual.detach() if isinstance(actual, torch.Tensor) else torch.tensor(actual, dtype=torch.float64)
        if actual.shape != expected.shape:
            self.findings.append(f"{name}: shape {tuple(actual.shape)}, expected {tuple(expected.shape)}")
            return
        kind, bound = self._tolerance(name)
        expected, actual = expected.double(), actual.double()
        if kind in ("close", "most"):
            self._compare_elements(name, (actual - expected).abs(), expected.abs(), kind, bound)
            return
        difference = (actual - expected).abs().max().item() if expected.numel() else 0.0
        allowed = bound * (expected.abs().max().item() if kind == "relative" else 1.0)
        if not difference <= allowed:
            self.findings.append(f"{name}: largest difference {difference:.3g}, allowed {allowed:.3g}")

    def _compare_elements(self, name: str, off: Any, size: Any, kind: str, bound: tuple[float, float]) -> None:
        """Differences element by element: "close" allows none beyond atol + rtol * size, "most" a share beyond atol."""
        allowed = bound[0] + bound[1] * size if kind == "close" else bound[0] + 0 * size
        share = (~(off <= allowed)).double().mean().item()
        if share > (0 if kind == "close" else bound[1]):
            self.findings.append(f"{name}: {share:.2%} of the elements differ by more than allowed, "
                                 f"at most by {off.max().item():.3g}")

    def compare_detections(self, name: str, actual: Any, labels: tuple[str, Any] | None = None, *, box: float,
                           score: float) -> None:
        """Compare detections (N, 5), boxes and scores, whose order may differ where scores tie.

        Args:
            name: of the expected boxes.
            actual: ours.
            labels: name of the expected classes (N,), and ours.
            box, score: largest differences allowed.
        """
        import torch

        if labels is not None and labels[0] not in self.io:
            labels = None
        if name not in self.io:
            if labels is not None:
                self.compare(*labels)
            return
        expected, actual = self.io[name].double(), actual.detach().double()
        self._compared.update({name} if labels is None else {name, labels[0]})
        if actual.shape != expected.shape:
            self.findings.append(f"{name}: shape {tuple(actual.shape)}, expected {tuple(expected.shape)}")
            return
        if labels is not None:  # a wrong class is as wrong as a box a thousand pixels away
            expected, actual = (torch.cat([boxes, 1e3 * classes[:, None].double()], dim=1) for boxes, classes
                                in ((expected, self.io[labels[0]]), (actual, labels[1])))
        wrong_scores = int(((expected[:, 4] - actual[:, 4]).abs() > score).sum())
        if wrong_scores:
            self.findings.append(f"{name}: {wrong_scores} of {len(expected)} scores differ by more than {score}")
        allowed = expected.new_full((expected.shape[1],), box)
        allowed[4] = score
        free, alone = set(range(len(actual))), 0
        for row in expected:
            fits = ((actual - row).abs() <= allowed).all(dim=1).nonzero().flatten().tolist()
            match = next((index for index in fits if index in free), None)
            free.discard(match)
            alone += match is None
        if alone:
            self.findings.append(f"{name}: {alone} of {len(expected)} detections have no counterpart")

    def _tolerance(self, name: str) -> tuple[str, Any]:
        given = self.spec.get("tolerance")
        if isinstance(given, dict) and "forward" in given:  # stated for values and for gradients
            part = given["grad" if "grad" in name.split(".") else "forward"]
            return "close", (part["atol"], part["rtol"])
        if isinstance(given, dict):
            given = next((bound for pattern, bound in given.items() if fnmatchcase(name, pattern)), None)
        for pattern, kind, bound in self.rules:
            if fnmatchcase(name, pattern):
                return kind, given if isinstance(given, (int, float)) else bound
        pytest.fail(f"No tolerance is known for {name}.")

    def uncompared(self) -> list[str]:
        """Expected outputs that no runner compared."""
        return [name for name in self.expected() if name not in self._compared]


def _is_numeric(value: Any) -> bool:
    """Whether nested lists hold numbers alone, so that they are a tensor."""
    return all(map(_is_numeric, value)) if isinstance(value, list) else isinstance(value, (int, float))


def _differences(expected: Any, actual: Any, bound: Any, place: str = "") -> Iterable[str]:
    """Places where plain values differ; floating-point numbers may by `bound` of their size."""
    if isinstance(expected, dict) and isinstance(actual, Mapping):
        for key in expected:
            yield from _differences(expected[key], actual.get(key), bound, f"{place}.{key}")
    elif isinstance(expected, list) and isinstance(actual, (list, tuple)) and len(expected) == len(actual):
        for index, (one, other) in enumerate(zip(expected, actual, strict=True)):
            yield from _differences(one, other, bound, f"{place}[{index}]")
    elif isinstance(expected, float) and isinstance(actual, (int, float)):
        allowed = bound * abs(expected) if isinstance(bound, float) else 0.0
        if not abs(expected - actual) <= allowed:
            yield f"{place}: {actual}, expected {expected}"
    elif expected != actual:
        yield f"{place}: {actual!r}, expected {expected!r}"[:200]
