"""Which parameters train, and how fast, chosen by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from clipapps.errors import UserError, did_you_mean

Trainable = str | Sequence[str] | Callable[[str, nn.Parameter], bool]
_NAMED = ("none", "all", "norm", "image", "text")


def set_trainable(model: nn.Module, trainable: Trainable) -> None:
    """Set `requires_grad` of an open_clip model's parameters (side effect: that flag only).

    Args:
        model: module whose parameter names are open_clip's ("visual.conv1.weight", "transformer...", ...).
        trainable: "none", "all", "norm" (scales and shifts of norm layers), "image", "text", "last:<n>" (the last n
            blocks or stages of the image tower and what follows them), a list of glob patterns on names
            ("visual.layer4.*"), or a callable (name, parameter) -> bool.

    Raises:
        UserError: for an unknown word, or a pattern that matches nothing.
    """
    choose = trainable if callable(trainable) else _chooser(model, trainable)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(bool(choose(name, parameter)))


def _chooser(model: nn.Module, trainable: str | Sequence[str]) -> Callable[[str, nn.Parameter], bool]:
    names = [name for name, _ in model.named_parameters()]
    if not isinstance(trainable, str):
        patterns = list(trainable)
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise UserError(f"The pattern {pattern!r} in `trainable` matches no parameter.")
        return lambda name, _: any(fnmatchcase(name, pattern) for pattern in patterns)
    if last := re.fullmatch(r"last:(\d+)", trainable):
        frozen = _before_last(names, int(last[1]))
        return lambda name, _: name.startswith("visual.") and name not in frozen
    if trainable == "norm":
        norms = _norm_parameters(model)
        return lambda name, _: name in norms
    if trainable not in _NAMED:
        raise UserError(f"`trainable={trainable!r}` is unknown.{did_you_mean(trainable, _NAMED)} Choose one of "
                        f"{', '.join(_NAMED)}, last:<n>, a list of patterns, or a callable.")
    return {
        "none": lambda name, _: False,
        "all": lambda name, _: True,
        "image": lambda name, _: name.startswith("visual."),
        "text": lambda name, _: not name.startswith("visual."),
    }[trainable]


_BLOCK = re.compile(r"visual\.(?:transformer\.resblocks\.|trunk\.blocks\.|layer)(\d+)\.")


def _before_last(names: Sequence[str], count: int) -> set[str]:
    """Names of image-tower parameters in front of its last `count` blocks."""
    blocks = sorted({int(found[1]) for name in names if (found := _BLOCK.match(name))})
    first = blocks[-count] if 0 < count <= len(blocks) else (blocks[0] if count else blocks[-1] + 1)
    tail = ("visual.ln_post", "visual.proj", "visual.attnpool", "visual.head", "visual.trunk.norm",
            "visual.trunk.attn_pool", "visual.trunk.fc_norm", "visual.trunk.head")
    return {name for name in names if name.startswith("visual.") and not name.startswith(tail)
            and not ((found := _BLOCK.match(name)) and int(found[1]) >= first)}


def _norm_parameters(model: nn.Module) -> set[str]:
    norms = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)
    return {f"{prefix}.{name}" if prefix else name for prefix, module in model.named_modules()
            if isinstance(module, norms) for name, _ in module.named_parameters(recurse=False)}


def parameter_groups(
    model: nn.Module,
    lr: float,
    weight_decay: float = 0.0,
    lr_mult: Mapping[str, float] | None = None,
    decay_mult: Mapping[str, float] | None = None,
) -> list[dict[str, Any]]:
    """Optimizer parameter groups with multipliers chosen by glob patterns on parameter names.

    Frozen parameters are left out. Of several patterns that match a name, the longest wins (mmengine configs say the
    same with `paramwise_cfg`). Groups with equal settings are merged.

    >>> groups = parameter_groups(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)), 1e-3, lr_mult={"0.*": 0.1})
    >>> [(g["lr"], len(g["params"])) for g in groups]
    [(0.0001, 2), (0.001, 2)]
    """
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        settings = (lr * _longest_match(name, lr_mult or {}), weight_decay * _longest_match(name, decay_mult or {}))
        group = groups.setdefault(settings, {"params": [], "lr": settings[0], "weight_decay": settings[1]})
        group["params"].append(parameter)
    return list(groups.values())


def _longest_match(name: str, multipliers: Mapping[str, float]) -> float:
    matching = [pattern for pattern in multipliers if fnmatchcase(name, pattern)]
    return multipliers[max(matching, key=len)] if matching else 1.0
