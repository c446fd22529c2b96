"""Muon for the matrices of transformer blocks and AdamW for all else, as one optimizer.

Muon (K. Jordan et al., 2024, kellerjordan.github.io/posts/muon) makes the update of a matrix orthogonal. The tiny ViT
learns shapes with it in clearly fewer pictures than with AdamW (MODEL_CARD.md has the probes).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIMIZERS
from torch import nn


@OPTIMIZERS.register_module()
class MuonAdamW(torch.optim.Optimizer):
    """`torch.optim.Muon` on parameter groups marked `muon=True` and `torch.optim.AdamW` on the others.

    Args:
        params: parameter groups; `MuonConstructor` marks them.
        lr, weight_decay: of both; Muon's updates are scaled to the root mean square of AdamW's.
        momentum: Muon's; betas: AdamW's.

    Raises:
        ValueError: a group marked `muon=True` holds a tensor that is not a matrix.

    >>> layer = nn.Linear(4, 4)
    >>> optimizer = MuonAdamW([dict(params=[layer.weight], muon=True), dict(params=[layer.bias])], lr=0.1)
    >>> layer(torch.ones(1, 4)).sum().backward()
    >>> optimizer.step()
    >>> sorted(key for state in optimizer.state_dict()["parts"] for one in state["state"].values() for key in one)
    ['exp_avg', 'exp_avg_sq', 'momentum_buffer', 'step']
    """

    def __init__(self, params: Iterable[dict[str, Any]], lr: float = 1e-3, weight_decay: float = 0.05,
                 momentum: float = 0.95, betas: tuple[float, float] = (0.9, 0.98)) -> None:
        groups = [dict(group) for group in params]
        is_matrix = [group.pop("muon", False) for group in groups]
        matrices = [group for group, yes in zip(groups, is_matrix, strict=True) if yes]
        others = [group for group, yes in zip(groups, is_matrix, strict=True) if not yes]
        self.parts: list[torch.optim.Optimizer] = []
        if matrices:
            self.parts.append(torch.optim.Muon(matrices, lr=lr, weight_decay=weight_decay, momentum=momentum,
                                               adjust_lr_fn="match_rms_adamw"))
        if others:
            self.parts.append(torch.optim.AdamW(others, lr=lr, weight_decay=weight_decay, betas=betas))
        super().__init__([dict(params=group["params"]) for part in self.parts for group in part.param_groups],
                         dict(lr=lr, weight_decay=weight_decay))
        self._share_groups()

    def _share_groups(self) -> None:
        """Schedulers change `param_groups`; they must be the very dicts that the parts read."""
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step of both."""
        if closure is not None:
            with torch.enable_grad():
                closure = closure()
        for part in self.parts:
            part.step()
        return closure

    def state_dict(self) -> dict[str, Any]:
        """The states of both parts."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore both parts from `state_dict()`."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share_groups()


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MuonConstructor(DefaultOptimWrapperConstructor):
    """mmengine's parameter-wise settings, with the matrices of transformer blocks marked for `MuonAdamW`.

    Embeddings and projections stay with AdamW: their rows are looked up or read one by one.
    """

    def add_params(self, params: list[dict[str, Any]], module: nn.Module, prefix: str = "",
                   is_dcn_module: int | float | None = None) -> None:
        """One group a parameter, as in mmengine."""
        super().add_params(params, module, prefix, is_dcn_module)
        if not prefix:
            in_blocks = {id(parameter) for name, parameter in module.named_parameters()
                         if ".resblocks." in name and parameter.ndim == 2}
            for group in params:
                group["muon"] = id(group["params"][0]) in in_blocks
