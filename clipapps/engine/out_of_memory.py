"""Out of memory while training: what can be saved is saved, and the cures are told as overrides to paste."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine import Config

from clipapps.engine.config_check import accepted_keys
from clipapps.engine.resume import point_to, pointed
from clipapps.engine.seeding import restore_random_state
from clipapps.errors import OutOfMemoryError

_RECOMPUTING = ("grad_checkpoint", "with_cp")  # arguments of models that trade memory for time
_CROP_MULTIPLE = 32


def out_of_memory(runner: Any, error: BaseException) -> OutOfMemoryError:
    """Save a checkpoint of where the step at hand began, if that can still be told, and put the rest into words.

    Args:
        runner: whose training step has run out of memory.
        error: the allocator's complaint.

    Returns:
        the error to raise: step, batch, what is saved, how to go on, three cures.
    """
    start = runner.step_start
    where = f"in step {runner.iter + 1}, with {start.batch}" if start else "between two training steps"
    saved = _saved(runner)
    newest = saved or pointed(runner.work_dir)
    state = "nothing was saved yet" if newest is None else (
        f"{newest.name} {'is saved' if saved else 'is the newest checkpoint'}")
    command = f"clipapps train {shlex.quote(f'{runner.work_dir}/config.py')} --work-dir {shlex.quote(runner.work_dir)}"
    words = str(error).strip().partition("\n")[0].partition(". Tried")[0][:200]
    return OutOfMemoryError("\n".join([
        f"Out of memory {where}; {state} ({words}).",
        f"Go on with one or more of these cures behind\n  {command}{' --resume' if newest else ''}",
        *(f"  {number}. {cure}" for number, cure in enumerate(cures(runner.cfg), 1))]))


def cures(cfg: Config) -> list[str]:
    """Three ways to need less memory for a config's training, each with the words to add to the command line."""
    recompute = "  ".join(_recompute_overrides(cfg))
    smaller = "  ".join(_crop_overrides(cfg))
    amp = "" if "amp" in str(cfg.optim_wrapper.get("type", "")).lower() or "MixedPrecision" in str(
        cfg.optim_wrapper.get("type", "")) else "--amp"
    return [
        _smaller_batch(cfg),
        "half precision, or smaller pictures:  " + ("  or  ".join(filter(None, [amp, smaller]))
                                                     or "(half precision is on; choose a smaller input size)"),
        "activations are computed again in the backward pass instead of kept (about a third more time):  " + recompute,
    ]


def _smaller_batch(cfg: Config) -> str:
    batch, count = int(cfg.train_dataloader.get("batch_size", 1)), int(cfg.optim_wrapper.get("accumulative_counts", 1))
    if batch == 1:
        return "smaller batches: the batch is 1 already"
    smaller = next(size for size in range(batch // 2, 0, -1) if batch % size == 0)
    factor = batch // smaller
    length = cfg.train_cfg.get("max_iters")
    longer = f"; a step then sees less, train_cfg.max_iters={length * factor} trains as long" if length else ""
    return (f"smaller batches, {factor * count} of them an update (still {batch * count} samples{longer}):  "
            f"train_dataloader.batch_size={smaller}  optim_wrapper.accumulative_counts={factor * count}")


def _crop_overrides(cfg: Config) -> list[str]:
    crops = {path: value for path, value in _leaves(cfg.train_dataloader.get("dataset"), "train_dataloader.dataset")
             if path.endswith(".crop_size")}
    if not crops:
        return []
    padded = (cfg.model.get("data_preprocessor") or {}).get("size")
    places = {**crops, **({"model.data_preprocessor.size": padded} if padded in crops.values() else {})}
    return [f"{path}={_halved(value)}" for path, value in places.items()]


def _halved(size: Any) -> str:
    sides = [max(_CROP_MULTIPLE, side // 2 // _CROP_MULTIPLE * _CROP_MULTIPLE)
             for side in (size if isinstance(size, (list, tuple)) else (size,))]
    return f"[{','.join(map(str, sides))}]" if isinstance(size, (list, tuple)) else str(sides[0])


def _recompute_overrides(cfg: Config) -> list[str]:
    """Arguments of the model's parts that switch recomputation on, or mmengine's way by module names."""
    found = [f"{'.'.join(path)}.{name}=True" for path in _parts_of(cfg.model, ("model",))
             for name in _RECOMPUTING if name in accepted_keys(cfg, list(path))]
    return found or ["activation_checkpointing=[...]  (names of modules of the model)"]


def _parts_of(node: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(node, dict):
        if "type" in node:
            yield path
        for key, value in node.items():
            yield from _parts_of(value, (*path, key))


def _leaves(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Dotted path and value of every entry below; a tuple of numbers is one value."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _leaves(value, f"{path}.{key}")
    elif isinstance(node, list) and any(isinstance(item, dict) for item in node):
        for index, item in enumerate(node):
            yield from _leaves(item, f"{path}.{index}")
    else:
        yield path, tuple(node) if isinstance(node, list) else node


def _saved(runner: Any) -> Path | None:
    """The checkpoint of where the step began; None where the state is not that of a whole number of steps.

    That is so within an update, outside a step, in an epoch-based loop (which resumes at epochs only), and in several
    processes (the others are in another step, or waiting).
    """
    undo = getattr(runner.optim_wrapper, "undo_forward", None)
    if (runner.step_start is None or undo is None or runner.optim_wrapper.is_updating or runner.world_size > 1
            or "Epoch" in type(runner.train_loop).__name__):
        return None
    undo()
    runner.optim_wrapper.zero_grad()  # of this step, and those of the steps before it in the same update
    restore_random_state(runner.step_start.random_state)
    file = Path(runner.work_dir) / f"iter_{runner.iter}.pth"
    newest = pointed(runner.work_dir)
    if runner.iter == 0 or (newest is not None and newest.name == file.name):
        return newest
    runner.save_checkpoint(runner.work_dir, file.name, by_epoch=False, meta={"iter": runner.iter})
    point_to(file)
    return file
