"""The learning-rate curve of the published segmentation recipes."""

from __future__ import annotations

from typing import Any

from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler

from clipapps.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module(name="DenseCLIPWarmupPolyLR")
class WarmupPolyLR(LRSchedulerMixin, _ParamScheduler):
    """Polynomial decay to a floor, multiplied by a linear warm-up of the same iteration.

    With base rate b, iteration i of T: r = (b - eta_min) * (1 - i / T) ** power + eta_min, and for i < w:
    r * (1 - (1 - i / w) * (1 - warmup_ratio)). A linear scheduler followed by a polynomial one is another curve.

    Args:
        optimizer: optimizer or optimizer wrapper.
        end: total iterations T.
        power: exponent of the decay.
        eta_min: floor of the decay.
        warmup_iters: iterations w of warm-up.
        warmup_ratio: warm-up factor at iteration 0.
        lift_zero: what the released code does: a group with base rate 0 rises towards `eta_min` with all others, which
            trains the "frozen" text encoder. By default a rate of 0 stays 0.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    >>> _ = WarmupPolyLR(optimizer, end=10, warmup_iters=5, warmup_ratio=0.1)
    >>> round(optimizer.param_groups[0]["lr"], 6)
    0.1
    """

    def __init__(
        self,
        optimizer: Any,
        *,
        end: int,
        power: float = 0.9,
        eta_min: float = 1e-6,
        warmup_iters: int = 1500,
        warmup_ratio: float = 1e-6,
        lift_zero: bool = False,
        **kwargs: Any,
    ) -> None:
        self.power, self.eta_min, self.lift_zero = power, eta_min, lift_zero
        self.warmup_iters, self.warmup_ratio = warmup_iters, warmup_ratio
        super().__init__(optimizer, end=end, by_epoch=False, **kwargs)

    def _get_value(self) -> list[float]:
        return [self._rate(base) for base in self.base_values]

    def _rate(self, base: float) -> float:
        if base == 0 and not self.lift_zero:
            return 0.0
        step = self.last_step
        rate = (base - self.eta_min) * (1 - step / self.end) ** self.power + self.eta_min
        if step < self.warmup_iters:
            rate *= 1 - (1 - step / self.warmup_iters) * (1 - self.warmup_ratio)
        return rate
