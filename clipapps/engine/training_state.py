"""The parts of a checkpoint beside the weights, as plain values."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import is_model_wrapper

from clipapps.engine.plain import to_plain
from clipapps.errors import WeightsError


def unwrapped(model: torch.nn.Module) -> torch.nn.Module:
    """The model inside a wrapper for several processes, or the model itself."""
    inner = model.module if is_model_wrapper(model) else model
    assert isinstance(inner, torch.nn.Module)
    return inner


def accumulated_gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Gradients that wait for the next update: of accumulation over several steps; none after an update."""
    return {name: parameter.grad for name, parameter in unwrapped(model).named_parameters()
            if parameter.grad is not None}


def put_gradients(model: torch.nn.Module, gradients: dict[str, torch.Tensor]) -> None:
    """Put gradients back that `accumulated_gradients` returned."""
    for name, parameter in unwrapped(model).named_parameters():
        if name in gradients:
            parameter.grad = gradients[name].to(parameter)


def scheduler_states(schedulers: Any) -> Any:
    """The states of parameter schedulers without their functions, which come from the config again."""
    if isinstance(schedulers, dict):
        return {name: scheduler_states(entries) for name, entries in schedulers.items()}
    return [{name: value for name, value in scheduler.state_dict().items() if not callable(value)}
            for scheduler in schedulers]


def load_schedulers(schedulers: Any, states: Any) -> None:
    """Put states back that `scheduler_states` returned.

    Raises:
        WeightsError: the checkpoint has other schedulers than the config.
    """
    if isinstance(schedulers, dict):
        for name, entries in schedulers.items():
            load_schedulers(entries, states[name])
    elif len(schedulers) != len(states or []):
        raise WeightsError(f"The checkpoint has {len(states or [])} parameter schedulers, the config "
                           f"{len(schedulers)}. Resume with the config of the run.")
    else:
        for scheduler, state in zip(schedulers, states, strict=True):
            scheduler.load_state_dict(state)


def plain_parts(hub: dict[str, Any]) -> dict[str, Any]:
    """The message hub without entries that a checkpoint cannot hold: metrics may leave any object there."""
    def is_plain(value: Any) -> bool:
        try:
            to_plain(value)
        except TypeError:
            return False
        return True

    info = {name: value for name, value in hub["runtime_info"].items() if is_plain(value)}
    known = {*info, *hub["log_scalars"]}
    return {"log_scalars": hub["log_scalars"], "runtime_info": info,
            "resumed_keys": {name: flag for name, flag in hub["resumed_keys"].items() if name in known}}
