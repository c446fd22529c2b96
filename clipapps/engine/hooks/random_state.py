"""The model's random numbers go on after a resume, and are left alone by validation."""

from __future__ import annotations

from typing import Any

from mmengine.dist import all_gather_object, get_rank
from mmengine.hooks import Hook

from clipapps.engine.seeding import capture_random_state, restore_random_state
from clipapps.registry import HOOKS

KEY = "random_state"


@HOOKS.register_module()
class RandomStateHook(Hook):
    """Put the random state of a checkpoint back before the first step, and keep validation from moving it.

    The state is saved by the Runner, because every process has its own and only the first writes.
    """

    priority = "HIGHEST"

    def __init__(self) -> None:
        self._resumed: dict[str, Any] | None = None
        self._before_validation: dict[str, Any] | None = None

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Keep the state of a checkpoint that training goes on from; the model is still being set up."""
        states = checkpoint.get(KEY)
        if runner.is_resuming and states:
            if len(states) == runner.world_size:
                self._resumed = states[get_rank()]
            else:
                runner.logger.warning("the run had %d processes and has %d now; dropout and the like start anew",
                                      len(states), runner.world_size)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Put the state back, after the loader and the model's set-up have drawn from it."""
        if self._resumed is not None:
            restore_random_state(self._resumed)
            self._resumed = None

    def before_val(self, runner: Any) -> None:
        """Remember where training stood."""
        self._before_validation = capture_random_state()

    def after_val(self, runner: Any) -> None:
        """Go on from there."""
        if self._before_validation is not None:
            restore_random_state(self._before_validation)
            self._before_validation = None


def gathered_random_states() -> list[dict[str, Any]]:
    """The random state of every process, by rank; all of them must call this together."""
    states: list[dict[str, Any]] = all_gather_object(capture_random_state())
    return states
