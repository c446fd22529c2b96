"""What changes from epoch to epoch."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from clipapps.errors import ConfigError
from clipapps.registry import HOOKS


def offset_at(epoch: int, start: float = 0.2, decay_from: int = 30) -> float:
    """Disturbance of an epoch (from 0): halved at the start of each one from `decay_from` on.

    >>> offset_at(29), offset_at(30), offset_at(32)
    (0.2, 0.1, 0.025)
    """
    return start * 0.5 ** max(0, epoch + 1 - decay_from)


@HOOKS.register_module(name="ILAOffsetDecay")
class OffsetDecay(Hook):
    """Sets the disturbance of the interactive points from the number of the epoch, so that a resumed run goes on.

    Args:
        start: disturbance of the first epochs, in half images.
        decay_from: the first epoch (from 0) in which it is halved.
    """

    def __init__(self, start: float = 0.2, decay_from: int = 30) -> None:
        self.start, self.decay_from = start, decay_from

    def before_train_epoch(self, runner: Any) -> None:
        """Set it for the epoch that begins."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        model.set_disturbance(offset_at(runner.epoch, self.start, self.decay_from))


@HOOKS.register_module(name="ILASameClasses")
class SameClassesHook(Hook):
    """Refuse to train or evaluate a classifier whose class names are not the data set's, in the same order."""

    def before_train(self, runner: Any) -> None:
        """Compare with the training set."""
        _compare(runner, "train_dataloader", runner.train_dataloader)

    def before_val(self, runner: Any) -> None:
        """Compare with the validation set."""
        _compare(runner, "val_dataloader", runner.val_dataloader)

    def before_test(self, runner: Any) -> None:
        """Compare with the test set."""
        _compare(runner, "test_dataloader", runner.test_dataloader)


def _compare(runner: Any, place: str, loader: Any) -> None:
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    of_data = tuple(name.strip() for name in (getattr(loader.dataset, "metainfo", None) or {}).get("classes") or ())
    of_model: tuple[str, ...] | None = model.class_names
    if not of_data or of_model == of_data or (of_model is None and model.num_classes == len(of_data)):
        return
    if of_model is None:
        raise ConfigError(f"model.head.num_classes is {model.num_classes}; the data of {place} has {len(of_data)} "
                          "classes.")
    first = next((f"; class {index} is {own!r} there and {other!r} here" for index, (own, other)
                  in enumerate(zip(of_model, of_data, strict=False)) if own != other), "")
    raise ConfigError(f"model.head.class_names has {len(of_model)} classes, the data of {place} has {len(of_data)}"
                      f"{first}. Give both the same names in the same order.")
