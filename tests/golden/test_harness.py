"""The harness itself: a wrong, missing or forgotten output fails, and so does a case that nobody can run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

TOLERANCES = {"": [("grad.*", "relative", 1e-3), ("*", "abs", 1e-4)]}


def double(case) -> None:
    x = case.input("x")
    case.compare("double", 2 * x)
    case.compare("grad.x", torch.full_like(x, 2.0))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "toy" / "double_small"
    path.mkdir(parents=True)
    write(path, {})
    return path


def write(path: Path, extra: dict[str, torch.Tensor], **spec: object) -> None:
    (path / "case.json").write_text(json.dumps({"inputs": {"x": [3]}, **spec}))
    x = torch.arange(3.0)
    save_file({"x": x, "double": 2 * x, **extra}, path / "io.safetensors")


def test_a_right_answer_passes(folder, check_case):
    check_case(folder, {"double": double}, TOLERANCES)


def test_a_wrong_answer_fails_with_its_size(folder, check_case):
    write(folder, {"double": torch.tensor([0.0, 2.0, 4.5])})
    with pytest.raises(pytest.fail.Exception, match="double: largest difference 0.5, allowed 0.0001"):
        check_case(folder, {"double": double}, TOLERANCES)


def test_an_output_that_nobody_compared_fails(folder, check_case):
    write(folder, {"forgotten": torch.zeros(2)})
    with pytest.raises(pytest.fail.Exception, match="forgotten: nobody compared it"):
        check_case(folder, {"double": double}, TOLERANCES)


def test_another_shape_fails(folder, check_case):
    write(folder, {"grad.x": torch.zeros(4)})
    with pytest.raises(pytest.fail.Exception, match=r"grad.x: shape \(3,\), expected \(4,\)"):
        check_case(folder, {"double": double}, TOLERANCES)


def test_a_folder_without_runner_fails(folder, check_case, run_case):
    with pytest.raises(pytest.fail.Exception, match="No runner's name is a prefix"):
        check_case(folder, {"triple": double}, TOLERANCES)
    with pytest.raises(pytest.fail.Exception, match="no runners for toy"):
        run_case(folder)


def test_the_longest_prefix_runs(folder, check_case):
    def wrong(case) -> None:
        raise AssertionError

    check_case(folder, {"d": wrong, "double": wrong, "double_s": double}, TOLERANCES)


def test_numbers_in_the_case_take_precedence(folder, check_case):
    write(folder, {"double": torch.tensor([0.0, 2.0, 4.5])}, tolerance=0.6)
    check_case(folder, {"double": double}, TOLERANCES)
    write(folder, {"double": torch.tensor([0.0, 2.0, 4.5])}, tolerance={"double": 0.1})
    with pytest.raises(pytest.fail.Exception, match="allowed 0.1"):
        check_case(folder, {"double": double}, TOLERANCES)


def test_not_a_number_fails(folder, check_case):
    write(folder, {})
    with pytest.raises(pytest.fail.Exception, match="largest difference nan"):
        check_case(folder, {"double": lambda case: case.compare("double", torch.full((3,), torch.nan))}, TOLERANCES)


def test_lists_of_a_case_without_tensors_are_outputs(tmp_path, check_case):
    path = tmp_path / "toy" / "rates"
    path.mkdir(parents=True)
    spec = {"what": "rates", "steps": [0, 1], "rates": [0.1, 0.2], "ids": {"a": [1]}}
    (path / "case.json").write_text(json.dumps(spec))

    def run(case) -> None:
        assert case.input("steps") == [0, 1]
        case.compare("rates", [0.1, 0.2])

    with pytest.raises(pytest.fail.Exception, match="ids: nobody compared it"):
        check_case(path, {"rates": run}, {"": [("*", "relative", 1e-9)]})


BOXES = torch.tensor([[0.0, 0, 9, 9, 0.9], [5, 5, 9, 9, 0.5], [1, 1, 4, 4, 0.5]])
LABELS = torch.tensor([0, 1, 2])


@pytest.mark.parametrize(("order", "shift", "finding"), [
    ([0, 1, 2], 0.0, None),
    ([0, 2, 1], 0.0, None),  # equal scores: any order
    ([1, 0, 2], 0.0, "2 of 3 scores differ"),
    ([0, 1, 2], 0.02, "1 of 3 detections have no counterpart"),
])
def test_detections_may_trade_places_where_scores_tie(folder, check_case, order, shift, finding):
    write(folder, {"boxes": BOXES, "labels": LABELS})

    def detect(case) -> None:
        double(case)
        ours = BOXES[order].clone()
        ours[0, 1] += shift
        case.compare_detections("boxes", ours, ("labels", LABELS[order]), box=0.01, score=1e-4)

    if finding is None:
        check_case(folder, {"double": detect}, TOLERANCES)
    else:
        with pytest.raises(pytest.fail.Exception, match=finding):
            check_case(folder, {"double": detect}, TOLERANCES)


def test_a_detection_of_another_class_has_no_counterpart(folder, check_case):
    write(folder, {"boxes": BOXES, "labels": LABELS})

    def detect(case) -> None:
        double(case)
        case.compare_detections("boxes", BOXES, ("labels", torch.tensor([0, 2, 1])), box=0.01, score=1e-4)

    with pytest.raises(pytest.fail.Exception, match="2 of 3 detections have no counterpart"):
        check_case(folder, {"double": detect}, TOLERANCES)
