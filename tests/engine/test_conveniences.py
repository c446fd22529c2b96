"""Accumulation, averaging, mixed precision, threads: each does what its name says, in numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from engine_toy_task import ToyModel

from clipapps.engine import checkpoint
from clipapps.engine.finite_guard import guarded
from clipapps.engine.precision import MixedPrecisionOptimWrapper
from clipapps.errors import OutOfMemoryError

PLAIN = ("model.dropout=0.0", "model.norm=False", "param_scheduler=None")
HALF = "optim_wrapper.type=clipapps.engine.precision.MixedPrecisionOptimWrapper"


def weights(folder: Path, step: int) -> dict[str, torch.Tensor]:
    return checkpoint.load(folder / f"iter_{step}.pth")["state_dict"]


def farthest(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    return max(float((first[name] - second[name]).abs().max()) for name in first)


@pytest.mark.parametrize("clip", [None, 0.1])
def test_two_batches_of_4_in_one_update_equal_a_batch_of_8(tmp_path, train_toy, clip):
    clipped = (f"optim_wrapper.clip_grad.max_norm={clip}",) if clip else ()
    train_toy(tmp_path / "whole", *PLAIN, *clipped, "train_dataloader.batch_size=8", "train_cfg.max_iters=20")
    train_toy(tmp_path / "parts", *PLAIN, *clipped, "train_dataloader.batch_size=4", "train_cfg.max_iters=40",
              "optim_wrapper.accumulative_counts=2")
    train_toy(tmp_path / "other", *PLAIN, *clipped, "train_dataloader.batch_size=4", "train_cfg.max_iters=40")
    whole = weights(tmp_path / "whole", 20)
    assert farthest(whole, weights(tmp_path / "parts", 40)) < 1e-5
    assert farthest(whole, weights(tmp_path / "other", 40)) > 1e-2


def test_the_average_is_the_exponential_one(tmp_path, train_toy):
    """A checkpoint's `state_dict` is the average, its `ema_state_dict` the weights that are trained."""
    train_toy(tmp_path, *PLAIN, "custom_hooks=[{'type': 'EMAHook', 'momentum': 0.25}]", "train_cfg.max_iters=8",
              "default_hooks.checkpoint.interval=1", "default_hooks.checkpoint.max_keep=9")
    average = None
    for step in range(1, 9):
        content = checkpoint.load(tmp_path / f"iter_{step}.pth")
        trained = content["ema_state_dict"]["module.net.0.weight"]
        average = trained if average is None else 0.75 * average + 0.25 * trained
        assert torch.allclose(content["state_dict"]["net.0.weight"], average, atol=1e-7)
    assert not torch.allclose(average, trained, atol=1e-3)


@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 0.05), ("float16", 0.005)])
def test_half_precision_stays_near_full_precision(tmp_path, train_toy, dtype, tolerance):
    train_toy(tmp_path / "full", *PLAIN)
    train_toy(tmp_path / "half", *PLAIN, HALF, f"optim_wrapper.dtype={dtype}")
    distance = farthest(weights(tmp_path / "full", 40), weights(tmp_path / "half", 40))
    assert 0 < distance < tolerance


def float16_wrapper(model: ToyModel, **arguments) -> MixedPrecisionOptimWrapper:
    return guarded(MixedPrecisionOptimWrapper)(optimizer=torch.optim.SGD(model.parameters(), lr=0.1), dtype="float16",
                                               **arguments)


def batch() -> dict:
    return dict(inputs=list(torch.randn(6, 4, generator=torch.Generator().manual_seed(0))), label=[0, 1, 0, 1, 0, 1])


def test_the_scaler_of_float16_skips_an_overflow_and_halves_its_scale():
    torch.manual_seed(0)
    model = ToyModel(dropout=0.0, norm=False, burst=(2,))
    wrapper = float16_wrapper(model, clip_grad=dict(max_norm=1.0))
    scale = wrapper.scaler.get_scale()
    assert wrapper.scaler.is_enabled() and scale == 65536.0
    model.train_step(batch(), wrapper)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train_step(batch(), wrapper)
    assert farthest(before, model.state_dict()) == 0
    assert wrapper.scaler.get_scale() == scale / 2
    model.train_step(batch(), wrapper)
    assert farthest(before, model.state_dict()) > 0
    again = float16_wrapper(ToyModel(norm=False))
    again.load_state_dict(wrapper.state_dict())
    assert again.scaler.get_scale() == scale / 2


def test_float16_gradients_are_those_of_float32_whatever_the_scale():
    gradients = []
    for dtype in ("float16", "bfloat16"):
        torch.manual_seed(0)
        model = ToyModel(dropout=0.0, norm=False)
        wrapper = guarded(MixedPrecisionOptimWrapper)(optimizer=torch.optim.SGD(model.parameters(), lr=1.0),
                                                      dtype=dtype)
        before = model.net[0].weight.detach().clone()
        model.train_step(batch(), wrapper)
        gradients.append(before - model.net[0].weight.detach())
        assert wrapper.scaler.is_enabled() is (dtype == "float16")
    assert torch.allclose(*gradients, atol=2e-2 * float(gradients[0].abs().max()) + 1e-3)


def test_a_float16_run_resumes_to_the_same_bits(tmp_path, train_toy):
    half = (*PLAIN, HALF, "optim_wrapper.dtype=float16", "default_hooks.checkpoint.max_keep=9", "model.burst=(5,)")
    train_toy(tmp_path / "a", *half)
    train_toy(tmp_path / "b", *half[:-1], "model.burst=()", resume=tmp_path / "a" / "iter_20.pth")
    first, second = (checkpoint.load(tmp_path / name / "iter_40.pth") for name in "ab")
    assert farthest(first["state_dict"], second["state_dict"]) == 0
    assert first["optimizer"]["loss_scaler"] == second["optimizer"]["loss_scaler"]
    assert first["optimizer"]["loss_scaler"]["scale"] == 32768.0


def test_other_seeds_give_other_runs_and_the_same_seed_the_same(tmp_path, train_toy):
    runs = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2), ("d", 3)):
        train_toy(tmp_path / name, "train_dataloader.dataset.augment=True", "train_cfg.max_iters=10", seed=seed)
        first_line = (tmp_path / name / "scalars.jsonl").read_text().splitlines()[0]
        runs.append((weights(tmp_path / name, 10), json.loads(first_line)))
    states = [state for state, _ in runs]
    assert farthest(states[0], states[1]) == 0
    assert all(farthest(states[first], states[second]) > 1e-3 for first, second in ((0, 2), (0, 3), (2, 3)))
    assert len({record["loss"] for _, record in runs}) == 3


@pytest.fixture
def threads():
    """`threads(n)` sets the number of threads of torch for the rest of the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_one_and_two_threads_agree_to_a_millionth(tmp_path, train_toy, threads):
    """Without batch norm: the bias before it has a gradient of rounding errors, which Adam makes steps of full size."""
    from clipapps.clip import CLIPBackbone

    backbone = CLIPBackbone.from_pretrained("tiny-rn", None)
    images = torch.rand(2, 3, 128, 96, generator=torch.Generator().manual_seed(0))
    outputs, states = [], []
    for count in (1, 2):
        threads(count)
        with torch.no_grad():
            features, text = backbone(backbone.normalize(images)), backbone.encode_text(["a star"])
        outputs.append({"pooled": features.pooled, "dense": features.dense, "text": text})
        train_toy(tmp_path / str(count), "train_cfg.max_iters=20", "model.norm=False")
        states.append(weights(tmp_path / str(count), 20))
    for name, value in outputs[0].items():
        assert torch.allclose(value, outputs[1][name], rtol=1e-6, atol=1e-6 * float(value.abs().max())), name
    assert farthest(*states) <= 1e-6


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_on_a_gpu(tmp_path, train_toy, dtype):
    train_toy(tmp_path / "full", *PLAIN, device="cuda")
    train_toy(tmp_path / "half", *PLAIN, HALF, f"optim_wrapper.dtype={dtype}", "optim_wrapper.device=cuda",
              device="cuda")
    assert 0 < farthest(weights(tmp_path / "full", 40), weights(tmp_path / "half", 40)) < 0.05


@pytest.mark.gpu
def test_out_of_memory_on_a_gpu(tmp_path, train_toy, monkeypatch):
    original = ToyModel.forward

    def forward(self, *arguments, **more):
        if self.steps == 12:
            torch.empty(2**46, dtype=torch.uint8, device="cuda")
        return original(self, *arguments, **more)

    monkeypatch.setattr(ToyModel, "forward", forward)
    with pytest.raises(OutOfMemoryError, match=r"in step 13, .*; iter_12\.pth is saved"):
        train_toy(tmp_path, device="cuda")
