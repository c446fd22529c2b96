"""Mixed precision on every device: bfloat16 where it exists, float16 with loss scaling elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

from clipapps.errors import ConfigError

_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@OPTIM_WRAPPERS.register_module()
class MixedPrecisionOptimWrapper(OptimWrapper):
    """An OptimWrapper whose forward pass runs under autocast, on a CPU too (mmengine's needs an accelerator).

    Args:
        dtype: "bfloat16", "float16" (gradients are then scaled against underflow; not on a CPU), or "auto": bfloat16
            where the device has it, else float16.
        device: "cpu" or "cuda"; where the model is.
        kwargs: of mmengine's OptimWrapper: optimizer, accumulative_counts, clip_grad.
    """

    def __init__(self, dtype: str = "auto", device: str = "cpu", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if dtype not in ("auto", *_DTYPES):
            raise ConfigError(f"optim_wrapper.dtype: {dtype!r} is not one of auto, {', '.join(_DTYPES)}.")
        if dtype == "auto":
            dtype = "bfloat16" if device == "cpu" or torch.cuda.is_bf16_supported() else "float16"
        self.device = device
        self.cast_dtype = _DTYPES[dtype]
        self.scaler = torch.amp.GradScaler(device, enabled=dtype == "float16")

    def backward(self, loss: torch.Tensor, **kwargs: Any) -> None:
        """Backpropagate the scaled loss."""
        self.scaler.scale(loss).backward(**kwargs)
        self._inner_count += 1

    def step(self, **kwargs: Any) -> None:
        """Unscale, clip, and update; a step whose scaled gradients overflow is skipped by the scaler."""
        if self.clip_grad_kwargs:
            self.scaler.unscale_(self.optimizer)
            self._clip_grad()
        self.scaler.step(self.optimizer, **kwargs)
        self.scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """The optimizer's state and the scaler's."""
        return {**super().state_dict(), "loss_scaler": self.scaler.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put both states back."""
        rest = dict(state_dict)
        scaler = rest.pop("loss_scaler", None)
        if scaler:
            self.scaler.load_state_dict(scaler)
        super().load_state_dict(rest)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast around the forward pass."""
        with super().optim_context(model), torch.autocast(self.device, dtype=self.cast_dtype):
            yield


def use_mixed_precision(cfg: Config, device: torch.device) -> None:
    """Turn the config's plain OptimWrapper into a `MixedPrecisionOptimWrapper`; leave one that does it already.

    Raises:
        ConfigError: the config has an optimizer wrapper of another kind.
    """
    kind = cfg.optim_wrapper.get("type", OptimWrapper)
    name = kind if isinstance(kind, str) else kind.__name__
    if name in ("AmpOptimWrapper", "MixedPrecisionOptimWrapper"):
        return
    if name.rpartition(".")[2] != "OptimWrapper":
        raise ConfigError(f"--amp replaces optim_wrapper.type OptimWrapper, but this config has {name}. "
                          "Give it mixed precision itself.")
    cfg.optim_wrapper.type = f"{__name__}.{MixedPrecisionOptimWrapper.__name__}"
    cfg.optim_wrapper.device = device.type
