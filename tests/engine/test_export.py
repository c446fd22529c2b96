"""Tracing, writing and checking a model that has nothing to do with any project."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from clipapps.engine import export
from clipapps.errors import UserError, WeightsError


class Halving(nn.Module):
    """Two numbers a pixel at half the size, back at full size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3, stride=2, padding=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.interpolate(self.conv(images), size=images.shape[2:], mode="bilinear")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Halving().eval().requires_grad_(False)


@pytest.mark.parametrize("kind", ["onnx", "torch_export"])
def test_a_written_file_computes_what_the_model_does_and_carries_its_metadata(model, tmp_path, kind):
    path = tmp_path / f"m{export.SUFFIXES[kind]}"
    write = export._write_onnx if kind == "onnx" else export._write_program
    with export._for_tracing():
        run = write(export.trace(model, (16, 24), any_batch=True), path, {"names": "[1, 2]"})
    for size in ((16, 24), (9, 31), (64, 20)):
        found = export.compare(model, run, size)
        assert found.size == size and found.largest > 0.1 and found.difference < 1e-5
    assert run(torch.randn(3, 3, 8, 10)).shape == (3, 2, 8, 10)
    if kind == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        assert session.get_modelmeta().custom_metadata_map["names"] == "[1, 2]"
        assert session.get_inputs()[0].name == export.INPUT and session.get_outputs()[0].name == export.OUTPUT
    else:
        extra = {export.METADATA: ""}
        torch.export.load(path, extra_files=extra)
        assert json.loads(extra[export.METADATA]) == {"names": "[1, 2]"}


def test_a_file_that_differs_is_refused(model):
    found = export.compare(model, lambda images: model(images) + 0.5, (16, 16))
    assert found.difference == pytest.approx(0.5)
    with pytest.raises(WeightsError, match="differs from the model by 0.5 at 16 x 16"):
        export._refuse_difference([export.Comparison((8, 8), 0.0, 1.0), found])
    with pytest.raises(WeightsError):
        export._refuse_difference([export.Comparison((8, 8), float("nan"), 1.0)])
    export._refuse_difference([export.Comparison((8, 8), 9e-4, 1.0)])


def test_the_sizes_of_the_check(model):
    anything = export.Exportable(model, (64, 64), smallest=64)
    assert export.check_sizes((64, 64), anything) == [(64, 64), (101, 138), (64, 74)]
    strict = export.Exportable(model, (64, 96), smallest=32, multiple=32)
    sizes = export.check_sizes((64, 96), strict)
    assert len(set(sizes)) == 3 and all(side % 32 == 0 for size in sizes for side in size)
    for size, said in (((32, 31), "at least 32 and multiples of 32"), ((16, 64), "at least 32")):
        with pytest.raises(UserError, match=said):
            export._checked_size(size, strict)
    assert export._checked_size((33, 64), export.Exportable(model, (64, 64), smallest=32)) == (33, 64)


def test_noise_and_the_fused_attention_are_back_afterwards():
    before = torch.backends.mha.get_fastpath_enabled()
    with pytest.raises(ValueError), export._for_tracing():
        assert not torch.backends.mha.get_fastpath_enabled()
        raise ValueError
    assert torch.backends.mha.get_fastpath_enabled() == before


def test_absent_packages_are_named_with_the_way_out(monkeypatch):
    monkeypatch.setattr(export.onnx_file, "PACKAGES", ("onnx", "a_package_that_is_not_there"))
    with pytest.raises(UserError, match=r'a_package_that_is_not_there.*pip install "clipapps\[export\]"'):
        export.onnx_file.require_packages()
