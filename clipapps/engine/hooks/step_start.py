"""How the step at hand began, so that one that runs out of memory can be undone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mmengine.hooks import Hook

from clipapps.engine.seeding import capture_random_state
from clipapps.registry import HOOKS


@dataclass(frozen=True)
class StepStart:
    """What is known when a step begins.

    Args:
        random_state: of `capture_random_state`.
        batch: what the step works on, in words: "a batch of 8 pictures of 512 x 512 pixels".
    """

    random_state: dict[str, Any]
    batch: str


@HOOKS.register_module()
class StepStartHook(Hook):
    """Leave a `StepStart` in `runner.step_start` while a step runs, and None between steps."""

    priority = "VERY_HIGH"  # after the random state of a resumed run has been put back

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Remember."""
        runner.step_start = StepStart(capture_random_state(), described(data_batch))

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """The step has been made."""
        runner.step_start = None


def described(data_batch: Any) -> str:
    """A batch in words: how many inputs, and the size of the largest picture among them.

    >>> import torch
    >>> described({"inputs": [torch.zeros(3, 48, 64), torch.zeros(3, 40, 80)]})
    'a batch of 2, pictures of up to 48 x 80 pixels (height x width)'
    """
    inputs = data_batch.get("inputs") if isinstance(data_batch, dict) else None
    if inputs is None or not hasattr(inputs, "__len__"):
        return "a batch"
    shapes = [tuple(entry.shape) for entry in inputs if hasattr(entry, "shape")]
    pictures = [shape for shape in shapes if len(shape) >= 3]
    if pictures:
        height, width = (max(shape[axis] for shape in pictures) for axis in (-2, -1))
        return f"a batch of {len(inputs)}, pictures of up to {height} x {width} pixels (height x width)"
    return f"a batch of {len(inputs)}" + (f", each of shape {max(shapes)}" if shapes else "")
