"""curves.png: losses and metrics over the steps."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook

from clipapps.registry import HOOKS


@HOOKS.register_module()
class CurvesHook(Hook):
    """Draw `curves.png` from `scalars.jsonl`."""

    priority = "LOWEST"

    def __init__(self) -> None:
        pass

    def after_train(self, runner: Any) -> None:
        """Draw."""
