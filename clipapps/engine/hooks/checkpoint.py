"""Saving: last, best, and a cap on how many are kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from clipapps.engine import resume as resuming
from clipapps.engine.checkpoint import read_metadata, save_weights
from clipapps.engine.config_name import name_of
from clipapps.engine.training_state import unwrapped
from clipapps.errors import ConfigError, did_you_mean
from clipapps.registry import HOOKS

BEST = "best.safetensors"
_LESS_IS_BETTER = ("loss", "error", "epe", "fid", "lpips", "mae", "rmse", "perplexity")


@HOOKS.register_module()
class CheckpointHook(Hook):
    """Write `iter_<n>.pth` (or `epoch_<n>.pth`) to go on from, and the best weights as `best.safetensors`.

    The newest checkpoint is named by the pointer file `last_checkpoint`. Old ones are deleted only after the new one
    and the pointer are on disk.

    Args:
        interval: steps (epochs in an epoch-based loop) between two checkpoints; the last step is always saved.
        max_keep: how many checkpoints are kept; the pointed one always is.
        save_best: metric that decides about `best.safetensors`: a name, "auto" (the first metric), or None (no file).
        rule: "greater", "less", or "auto" (by the metric's name).
    """

    priority = "VERY_LOW"

    def __init__(self, interval: int = 1000, max_keep: int = 1, save_best: str | None = "auto",
                 rule: str = "auto") -> None:
        if interval < 1 or max_keep < 1:
            raise ConfigError(f"CheckpointHook: interval and max_keep are at least 1, not {interval} and {max_keep}.")
        if rule not in ("auto", "greater", "less"):
            raise ConfigError(f"CheckpointHook: rule is auto, greater or less, not {rule!r}.")
        self.interval = interval
        self.max_keep = max_keep
        self.save_best = save_best
        self.rule = rule
        self._best: tuple[str, float] | None = None

    def before_train(self, runner: Any) -> None:
        """Know the best score so far: a checkpoint is older than the validation at its step, the weights tell."""
        self.by_epoch = runner.max_epochs > 1 or "Epoch" in type(runner.train_loop).__name__
        self._best = best_so_far(Path(runner.work_dir) / BEST, runner.iter)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Save in a step-based loop."""
        step = runner.iter + 1
        if not self.by_epoch and (step % self.interval == 0 or step == runner.max_iters):
            self._save(runner, f"iter_{step}.pth")

    def after_train_epoch(self, runner: Any) -> None:
        """Save in an epoch-based loop."""
        epoch = runner.epoch + 1
        if self.by_epoch and (epoch % self.interval == 0 or epoch == runner.max_epochs):
            self._save(runner, f"epoch_{epoch}.pth")

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Write `best.safetensors` when the deciding metric has improved."""
        if self.save_best is None or not metrics or runner.train_loop is None:
            return
        name = self._deciding(metrics)
        score = float(metrics[name])
        if self._best is not None and self._best[0] == name and not self._is_better(name, score, self._best[1]):
            return
        self._best = name, score
        if runner.rank == 0:
            save_weights(saved_weights(runner), Path(runner.work_dir) / BEST, {
                "config": name_of(runner.cfg), "step": runner.iter, "metric": name, "score": score,
                "classes": list((runner.visualizer.dataset_meta or {}).get("classes") or [])})

    def _save(self, runner: Any, name: str) -> None:
        runner.save_checkpoint(runner.work_dir, name, by_epoch=self.by_epoch)
        if runner.rank == 0:
            resuming.point_to(Path(runner.work_dir) / name)
            self._remove_old(Path(runner.work_dir), name)

    def _remove_old(self, folder: Path, newest: str) -> None:
        prefix = newest.partition("_")[0]
        ordered = sorted(folder.glob(f"{prefix}_*.pth"), key=resuming.step_of)
        later = [file for file in ordered if resuming.step_of(file) > resuming.step_of(folder / newest)]
        for file in [*later, *[f for f in ordered if f not in later][: -self.max_keep]]:  # later: of an earlier run
            if file.name != newest:
                file.unlink(missing_ok=True)

    def _deciding(self, metrics: dict[str, float]) -> str:
        if self.save_best == "auto":
            return next(iter(metrics))
        if self.save_best in metrics:
            return str(self.save_best)
        raise ConfigError(f"default_hooks.checkpoint.save_best: there is no metric {self.save_best!r} among "
                          f"{', '.join(metrics)}.{did_you_mean(str(self.save_best), metrics)}")

    def _is_better(self, name: str, score: float, best: float) -> bool:
        less = self.rule == "less" or (self.rule == "auto" and any(word in name.lower() for word in _LESS_IS_BETTER))
        return score < best if less else score > best


def best_so_far(file: Path, step: int) -> tuple[str, float] | None:
    """Metric and score of the best weights on disk, if they are not younger than `step`, where training goes on."""
    if step == 0 or not file.is_file():
        return None
    facts = {key: json.loads(value) for key, value in read_metadata(file).items() if key in ("step", "score")}
    return (read_metadata(file)["metric"], facts["score"]) if facts["step"] <= step else None


def saved_weights(runner: Any) -> dict[str, Any]:
    """The weights as a checkpoint would hold them: hooks may put others in place, as the averaging one does."""
    content = {"state_dict": unwrapped(runner.model).state_dict()}
    runner.call_hook("before_save_checkpoint", checkpoint=content)
    return content["state_dict"]
