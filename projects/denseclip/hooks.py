"""A check before the first step: model and data must mean the same classes."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from clipapps.errors import ConfigError
from clipapps.registry import HOOKS


@HOOKS.register_module(name="DenseCLIPSameClasses")
class SameClassesHook(Hook):
    """Refuse to train or evaluate a segmentor whose class names are not the data set's, in the same order.

    A segmentor with a vocabulary is trained on its class names and evaluated on the vocabulary.
    """

    def before_train(self, runner: Any) -> None:
        """Compare with the training and the validation set."""
        self._compare(runner, "train_dataloader", runner.train_dataloader)

    def before_val(self, runner: Any) -> None:
        """Compare with the validation set."""
        self._compare(runner, "val_dataloader", runner.val_dataloader)

    def before_test(self, runner: Any) -> None:
        """Compare with the test set."""
        self._compare(runner, "test_dataloader", runner.test_dataloader)

    def _compare(self, runner: Any, place: str, loader: Any) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        vocabulary = None if place == "train_dataloader" else getattr(model, "vocabulary", None)
        of_model: tuple[str, ...] = tuple(vocabulary or getattr(model, "class_names", None) or ())
        of_data = tuple(name.strip() for name in loader.dataset.metainfo.get("classes") or ())
        if not of_model or not of_data or of_model == of_data:
            return
        pairs = enumerate(zip(of_model, of_data, strict=False))
        first = next((f"; class {index} is {own!r} there and {other!r} here" for index, (own, other) in pairs
                      if own != other), "")
        key = "vocabulary" if vocabulary else "class_names"
        raise ConfigError(f"model.{key} has {len(of_model)} classes, the data of {place} has {len(of_data)}"
                          f"{first}. Give both the same names in the same order.")
