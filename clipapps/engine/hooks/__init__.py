"""What happens around training steps: progress, curves, checkpoints, pictures, and the check for a finite loss."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import DistSamplerSeedHook, IterTimerHook, ParamSchedulerHook

from clipapps.engine.hooks.checkpoint import CheckpointHook
from clipapps.engine.hooks.curves import CurvesHook
from clipapps.engine.hooks.finite_loss import FiniteLossHook
from clipapps.engine.hooks.ignored_labels import IgnoredLabelsHook
from clipapps.engine.hooks.interruption import InterruptionHook
from clipapps.engine.hooks.pictures import SamplePictureHook
from clipapps.engine.hooks.progress import ProgressLogger
from clipapps.engine.hooks.random_state import RandomStateHook
from clipapps.engine.hooks.runtime_info import RuntimeInfo
from clipapps.engine.hooks.step_start import StepStartHook

__all__ = ["CheckpointHook", "CurvesHook", "FiniteLossHook", "InterruptionHook", "ProgressLogger", "RandomStateHook",
           "RuntimeInfo", "SamplePictureHook", "StepStartHook", "DEFAULT_HOOKS", "merge_default_hooks"]

DEFAULT_HOOKS: dict[str, type] = {
    "runtime_info": RuntimeInfo,
    "timer": IterTimerHook,
    "sampler_seed": DistSamplerSeedHook,
    "random_state": RandomStateHook,
    "step_start": StepStartHook,
    "finite_loss": FiniteLossHook,
    "ignored_labels": IgnoredLabelsHook,
    "logger": ProgressLogger,
    "param_scheduler": ParamSchedulerHook,
    "curves": CurvesHook,
    "checkpoint": CheckpointHook,
    "interruption": InterruptionHook,
}


def merge_default_hooks(changes: dict[str, Any] | None) -> dict[str, Any]:
    """The default hooks with a config's `default_hooks` on top.

    An entry without `type` changes arguments of the default one, an entry with `type` replaces it, None drops it,
    and a new name adds a hook.
    """
    merged: dict[str, Any] = {name: {"type": hook} for name, hook in DEFAULT_HOOKS.items()}
    for name, change in (changes or {}).items():
        if change is None:
            merged.pop(name, None)
        elif isinstance(change, dict) and "type" not in change:
            merged[name] = {**merged.get(name, {}), **change}
        else:
            merged[name] = change
    return merged
