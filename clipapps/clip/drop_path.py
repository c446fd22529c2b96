"""Stochastic depth on the residual branches of a transformer tower, without touching its parameters' names."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def add_drop_path(blocks: Sequence[nn.Module], rate: float) -> None:
    """Drop both residual branches of block i with probability linspace(0, rate)[i] per image while training.

    Kept branches are scaled by 1 / (1 - p). Random numbers come from torch's global generator.
    """
    for block, probability in zip(blocks, torch.linspace(0, rate, len(blocks)).tolist(), strict=True):
        if probability > 0:
            for branch in (block.ls_1, block.ls_2):
                branch.register_forward_hook(_Drop(probability))


class _Drop:
    def __init__(self, probability: float) -> None:
        self.probability = probability

    def __call__(self, module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        if not module.training:
            return output
        keep = 1 - self.probability
        mask = output.new_empty(output.shape[0], *[1] * (output.ndim - 1)).bernoulli_(keep)
        return output * mask / keep
