"""Steps whose loss or gradients are not finite leave the model exactly as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import nn

_GUARDED: dict[type, type] = {}
_LARGEST_BUFFER = 2**20  # numbers; running statistics are far below, tables that never change are above


class FiniteGuard:
    """Mixed into an OptimWrapper by `guarded`: skips the update when the loss or a gradient is not finite.

    Running statistics, which the forward pass has changed by then, are put back too. `was_skipped` tells a hook.
    All processes skip together.
    """

    optimizer: torch.optim.Optimizer
    was_skipped = False
    is_updating = False  # stays True when the update itself fails: some weights are new then, some old
    _inner_count = 0
    _before: list[tuple[torch.Tensor, torch.Tensor]] = []  # noqa: RUF012  replaced, never changed

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Around the forward pass: remember the running statistics."""
        self.was_skipped = False
        self._before = [(buffer, buffer.clone()) for buffer in model.buffers() if buffer.numel() <= _LARGEST_BUFFER]
        with super().optim_context(model):  # type: ignore[misc]
            yield

    def update_params(self, loss: torch.Tensor, step_kwargs: dict | None = None,
                      zero_kwargs: dict | None = None) -> None:
        """Backpropagate and update, or put back what the forward pass changed."""
        if _everywhere(bool(torch.isfinite(loss.detach()).all())):
            super().update_params(loss, step_kwargs, zero_kwargs)  # type: ignore[misc]
        else:
            self._skip()
            self._inner_count += 1  # a step of accumulation is over, as after backward()
            if self.should_update():  # type: ignore[attr-defined]
                self.zero_grad(**(zero_kwargs or {}))  # type: ignore[attr-defined]

    def step(self, **kwargs: Any) -> None:
        """Update where every gradient is finite; scaled float16 gradients are the scaler's business."""
        scaler = getattr(self, "scaler", None) or getattr(self, "loss_scaler", None)
        gradients = [parameter.grad for group in self.optimizer.param_groups for parameter in group["params"]
                     if parameter.grad is not None]
        is_scaled = scaler is not None and scaler.is_enabled()
        if is_scaled or not gradients or _everywhere(_are_finite(gradients)):
            self.is_updating = True
            super().step(**kwargs)  # type: ignore[misc]
            self.is_updating = False
        else:
            self._skip()

    def undo_forward(self) -> None:
        """Put back the running statistics as they were before the forward pass."""
        with torch.no_grad():
            for buffer, before in self._before:
                buffer.copy_(before)

    def _skip(self) -> None:
        self.was_skipped = True
        self.undo_forward()


def guarded(kind: type) -> type:
    """The optimizer wrapper class with a `FiniteGuard` in front; one class for each."""
    if kind not in _GUARDED:
        _GUARDED[kind] = type(kind.__name__, (FiniteGuard, kind),
                              {"__module__": kind.__module__, "__doc__": kind.__doc__})
    return _GUARDED[kind]


def _are_finite(gradients: list[torch.Tensor]) -> bool:
    """One reduction for all gradients: their norm is finite exactly when they all are (and do not overflow)."""
    norms = torch._foreach_norm(gradients, float("inf"))
    return bool(torch.isfinite(torch.stack([norm.to(norms[0]) for norm in norms])).all())


def _everywhere(is_finite: bool) -> bool:
    if get_world_size() == 1:
        return is_finite
    flag = torch.tensor(float(is_finite))
    all_reduce(flag, op="min")
    return bool(flag)
