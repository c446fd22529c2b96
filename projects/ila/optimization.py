"""Which parameters train how fast, and the learning-rate curve of the published recipes."""

from __future__ import annotations

import math
from typing import Any, Self

from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn
from typing_extensions import override

from clipapps.errors import ConfigError
from clipapps.registry import PARAM_SCHEDULERS

UNDECAYED = ("positional_embedding",)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class ILAParameterGroups(DefaultOptimWrapperConstructor):
    """Optimizer groups with rates of their own, by parts of parameter names.

    `optim_wrapper=dict(constructor=ILAParameterGroups, groups=[dict(names=["message_"], lr=5e-4, weight_decay=1e-2)],
    ...)`: a parameter belongs to the first group one of whose names is part of its own. Biases, other parameters of one
    dimension, and positions are not decayed. A trainable parameter in no group is an error.

    Raises:
        ConfigError: no groups, or trainable parameters that no group names.
    """

    def __init__(self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: Any = None) -> None:
        content = dict(optim_wrapper_cfg)
        self.groups: list[dict[str, Any]] = content.pop("groups", [])
        if not all({"names", "lr", "weight_decay"} == set(group) for group in self.groups) or not self.groups:
            raise ConfigError("optim_wrapper.groups is a list of dicts with names, lr and weight_decay.")
        super().__init__(content, {"is_given": True})

    @override
    def _validate_cfg(self) -> None:
        """Nothing: mmengine's own keys have no meaning here."""

    @override
    def add_params(self, params: list[dict[str, Any]], module: nn.Module, prefix: str = "",
                   is_dcn_module: Any = None) -> None:
        """Append the groups of a model to `params`, each in a decayed and an undecayed part."""
        found: dict[tuple[int, bool], list[nn.Parameter]] = {}
        without = []
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                continue
            index = next((i for i, group in enumerate(self.groups) if any(n in name for n in group["names"])), None)
            if index is None:
                without.append(name)
                continue
            found.setdefault((index, is_decayed(name, parameter)), []).append(parameter)
        if without:
            raise ConfigError(f"optim_wrapper.groups: no group names {len(without)} trainable parameters "
                              f"({', '.join(without[:3])}{', ...' if len(without) > 3 else ''}).")
        params += [dict(params=parameters, lr=self.groups[index]["lr"],
                        weight_decay=self.groups[index]["weight_decay"] if decayed else 0.0)
                   for (index, decayed), parameters in sorted(found.items(), key=lambda item: item[0])]


def is_decayed(name: str, parameter: nn.Parameter) -> bool:
    """Whether weight decay applies: not to biases, norms, other vectors, and positions."""
    return parameter.ndim > 1 and not name.endswith(".bias") and not any(part in name for part in UNDECAYED)


@PARAM_SCHEDULERS.register_module(name="ILAWarmupCosineLR")
class WarmupCosineLR(LRSchedulerMixin, _ParamScheduler):
    """Linear warm-up from 0, then the rest of a cosine that began with it; both held between optimizer steps.

    With batch number t of `end` behind the last optimizer step: `lr * t / warmup` while t < warmup, else
    `eta_min + (lr - eta_min) / 2 * (1 + cos(pi t / end))`. Before the first optimizer step the rate is 0, so that step
    changes nothing, as in the published runs.

    Args:
        optimizer: optimizer or optimizer wrapper.
        end: batches in all. warmup: batches of warm-up.
        eta_min: where the cosine ends.
        accumulation: batches an optimizer step takes (`optim_wrapper.accumulative_counts`).

    With `by_epoch=True, convert_to_iter_based=True` in a config `end` and `warmup` count epochs.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    >>> scheduler = WarmupCosineLR(optimizer, end=10, warmup=4)
    >>> optimizer.step(); scheduler.step(); scheduler.step(); optimizer.param_groups[0]["lr"]
    0.25
    """

    def __init__(self, optimizer: Any, *, end: int, warmup: int = 0, eta_min: float = 0.0, accumulation: int = 1,
                 by_epoch: bool = False, **kwargs: Any) -> None:
        if by_epoch:
            raise ConfigError("WarmupCosineLR counts batches; with by_epoch=True it needs convert_to_iter_based=True.")
        self.total, self.warmup, self.eta_min, self.accumulation = end, warmup, eta_min, accumulation
        super().__init__(optimizer, end=end + 1, by_epoch=False, **kwargs)  # the last batch, too, has a rate after it

    @classmethod
    def build_iter_from_epoch(cls, *args: Any, end: int, warmup: int = 0, epoch_length: int, by_epoch: bool = True,
                              **kwargs: Any) -> Self:
        """The scheduler of arguments that count epochs of `epoch_length` batches."""
        return cls(*args, end=end * epoch_length, warmup=warmup * epoch_length, **kwargs)

    @override
    def _get_value(self) -> list[float]:
        return [self._rate(base) for base in self.base_values]

    def _rate(self, base: float) -> float:
        batch = self.last_step // self.accumulation * self.accumulation - 1  # index of the last update's batch
        if batch < 0:
            return 0.0
        if batch < self.warmup:
            return base * batch / self.warmup
        return self.eta_min + (base - self.eta_min) / 2 * (1 + math.cos(math.pi * batch / self.total))
