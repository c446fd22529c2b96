"""Train and test: mmengine's Runner with our checkpoints, hooks and work folder."""

from __future__ import annotations

import copy
import logging
import math
import os
import time
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import torch
from mmengine import Config
from mmengine.model import MMDistributedDataParallel, is_model_wrapper, revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from mmengine.runner import Runner as MMEngineRunner
from mmengine.visualization import Visualizer

from clipapps.engine import checkpoint as checkpoints
from clipapps.engine import hooks as engine_hooks
from clipapps.engine import resume as resuming
from clipapps.engine.atomic import write_json, write_text
from clipapps.engine.building import built_from
from clipapps.engine.config import read_config
from clipapps.engine.config_name import name_of
from clipapps.engine.finite_guard import FiniteGuard, guarded
from clipapps.engine.hooks.random_state import KEY, gathered_random_states
from clipapps.engine.hooks.step_start import StepStart
from clipapps.engine.interruption import Interruption, noted_signals
from clipapps.engine.loaders import build_dataloader
from clipapps.engine.out_of_memory import out_of_memory
from clipapps.engine.precision import use_mixed_precision
from clipapps.engine.report import print_bad_samples
from clipapps.engine.resume import print_config_changes
from clipapps.engine.run_config import DEFAULT_SEED, complete, pick_device, portable, process_rank
from clipapps.engine.seeding import BAD_SAMPLES
from clipapps.engine.training_state import (
    accumulated_gradients,
    load_schedulers,
    plain_parts,
    put_gradients,
    scheduler_states,
    unwrapped,
)
from clipapps.engine.watched_loader import WatchedLoader
from clipapps.engine.work_dir import CONFIG, METRICS, gone_if_nothing_ran, open_folder, set_aside
from clipapps.errors import ConfigError, WeightsError, is_out_of_memory
from clipapps.registry import RUNNERS


@RUNNERS.register_module()
class Runner(MMEngineRunner):
    """mmengine's Runner with safe and atomic checkpoints, our default hooks, and one flat work folder.

    Extra top-level config key: `device` ("auto", "cpu", "cuda", "cuda:1").
    """

    optim_wrapper: Any
    param_schedulers: Any
    _randomness_cfg: dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.metrics: dict[str, float] = {}
        self.interruption = Interruption({})
        self.is_forced = False
        self.step_start: StepStart | None = None
        super().__init__(*args, **kwargs)

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return pick_device(self.cfg.get("device", "auto"))

    @property
    def is_resuming(self) -> bool:
        """Whether the checkpoint being loaded is one to go on from, not just weights to start with."""
        return bool(self._resume)

    def build_dataloader(self, dataloader: Any, seed: int | None = None, diff_rank_seed: bool = False) -> Any:
        """A loader whose samples depend on the seed and the draw's number alone."""
        if not isinstance(dataloader, dict):
            return dataloader
        key = next((key for key in ("train_dataloader", "val_dataloader", "test_dataloader")
                    if getattr(self, f"_{key}") is dataloader), "dataloader")
        with built_from(key):
            return build_dataloader(dataloader, seed=DEFAULT_SEED if seed is None else seed,
                                    diff_rank_seed=diff_rank_seed, bad_samples=Path(self.work_dir) / BAD_SAMPLES)

    def build_model(self, model: Any) -> torch.nn.Module:
        """The config's model."""
        with built_from("model"):
            built: torch.nn.Module = super().build_model(model)
            return built

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """The config's schedules."""
        with built_from("param_scheduler"):
            return super().build_param_scheduler(scheduler)

    def register_hook(self, hook: Any, priority: Any = None) -> None:
        """Register one of the config's hooks."""
        with built_from("hooks"):
            super().register_hook(hook, priority)

    def train(self) -> torch.nn.Module:
        """Train; see mmengine's Runner.

        Raises:
            OutOfMemoryError: after saving where the step began; the message has the cures.
        """
        try:
            return super().train()
        except Exception as error:
            if is_out_of_memory(error) and isinstance(self.optim_wrapper, OptimWrapper):
                raise out_of_memory(self, error) from error
            raise

    @property
    def _log_dir(self) -> str:
        return self._work_dir

    @_log_dir.setter
    def _log_dir(self, value: str) -> None:
        """mmengine makes a folder per start; ours keeps one run in one folder."""

    def setup_env(self, env_cfg: dict) -> None:
        """Connect the processes, also where there is no GPU: mmengine's own way insists on one."""
        if self.distributed and self.device.type == "cpu" and not torch.distributed.is_initialized():
            torch.distributed.init_process_group("gloo")
        super().setup_env(env_cfg)

    def build_logger(self, log_level: int | str = "INFO", log_file: str | None = None, **kwargs: Any) -> Any:
        """Everything goes to `train.log`; the terminal sees errors only, the progress lines are enough there."""
        name = "train.log" if self._train_loop is not None else "test.log"
        logger = super().build_logger(log_level, log_file or os.path.join(self.work_dir, name), **kwargs)
        logger.handlers[0].setLevel(logging.ERROR)
        return logger

    def build_visualizer(self, visualizer: Visualizer | dict | None = None) -> Visualizer:
        """No backend unless the config names one: `scalars.jsonl` and `pictures/` are written without it."""
        if isinstance(visualizer, dict) or visualizer is None:
            visualizer = {"type": Visualizer, **(visualizer or {})}
        return super().build_visualizer(visualizer)

    def register_default_hooks(self, hooks: dict[str, Any] | None = None) -> None:
        """Register our default hooks; a config's entry changes single arguments, a new type, or None to drop one."""
        for hook in engine_hooks.merge_default_hooks(hooks).values():
            self.register_hook(hook)

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call all hooks in order; keeps the latest metrics, and leaves the traceback of an error as it is."""
        if fn_name in ("after_val_epoch", "after_test_epoch"):
            self.metrics = dict(kwargs.get("metrics") or {})
        for hook in self._hooks:
            if hasattr(hook, fn_name):
                getattr(hook, fn_name)(self, **kwargs)

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """The config's optimizer wrapper, which skips steps that are not finite."""
        if isinstance(optim_wrapper, dict) and "optimizer" in optim_wrapper:
            kind: Any = optim_wrapper.get("type", OptimWrapper)
            kind = OPTIM_WRAPPERS.get(kind) if isinstance(kind, str) else kind
            if isinstance(kind, type) and issubclass(kind, OptimWrapper) and not issubclass(kind, FiniteGuard):
                optim_wrapper = {**optim_wrapper, "type": guarded(kind)}
        with built_from("optim_wrapper"):
            return super().build_optim_wrapper(optim_wrapper)

    def wrap_model(self, model_wrapper_cfg: dict | None, model: torch.nn.Module) -> torch.nn.Module:
        """Move the model to the device that the config asks for, and wrap it for several processes (CPU ones too)."""
        if is_model_wrapper(model) or (self.distributed and self.device.type != "cpu"):
            return super().wrap_model(model_wrapper_cfg, model)
        model = revert_sync_batchnorm(model.to(self.device))
        if not self.distributed:
            return model
        return MMDistributedDataParallel(
            module=model, find_unused_parameters=self.cfg.get("find_unused_parameters", False), broadcast_buffers=False)

    def _init_model_weights(self) -> None:
        """Initialize, unless a checkpoint with every weight follows: then a CLIP file need not even be there."""
        if self.is_forced or not (self._resume and self._load_from):
            super()._init_model_weights()

    def dump_config(self) -> None:
        """Nothing: `train` has written config.py before the model was built."""

    def load_checkpoint(self, filename: str, map_location: Any = "cpu", strict: bool = False,
                        revise_keys: list | None = None) -> dict:
        """Read a checkpoint safely and put its weights into the model, all of them or an error."""
        content, model = checkpoints.load(filename), unwrapped(self.model)
        if self.is_resuming:
            content = resuming.fitted(content, model, filename, is_forced=self.is_forced)
        self.call_hook("after_load_checkpoint", checkpoint=content)
        checkpoints.load_weights(model, filename, content=content)
        self._has_loaded = True
        self.logger.info("loaded %s", filename)
        return content

    def resume(self, filename: str, resume_optimizer: bool = True, resume_param_scheduler: bool = True,
               map_location: Any = "cpu") -> None:
        """Go on from a checkpoint: weights, optimizer, schedules, message hub, step, seed.

        Raises:
            WeightsError: it cannot be read, belongs to another model, or holds weights only.
        """
        content = self.load_checkpoint(filename)
        if "meta" not in content or "optimizer" not in content:
            raise WeightsError(f"{filename} holds weights only, so training cannot go on from it. "
                               "Start from its weights with load_from instead of --resume.")
        meta = content["meta"]
        self.train_loop._epoch, self.train_loop._iter = meta["epoch"], meta["iter"]
        if meta["seed"] != self.seed:
            self._randomness_cfg = {**self._randomness_cfg, "seed": meta["seed"]}
            self.set_randomness(**self._randomness_cfg)
        self.message_hub.load_state_dict(content["message_hub"])
        self.optim_wrapper = self.build_optim_wrapper(self.optim_wrapper)
        resuming.load_optimizer(self.optim_wrapper, content["optimizer"], filename, is_forced=self.is_forced)
        put_gradients(self.model, content.get("gradients", {}))
        if self.param_schedulers is not None:
            self.param_schedulers = self.build_param_scheduler(self.param_schedulers)
            load_schedulers(self.param_schedulers, content.get("param_schedulers"))
        self.logger.info("resumed %s at epoch %d, step %d", filename, self.epoch, self.iter)

    def save_checkpoint(self, out_dir: str, filename: str, file_client_args: dict | None = None,
                        save_optimizer: bool = True, save_param_scheduler: bool = True, meta: dict | None = None,
                        by_epoch: bool = True, backend_args: dict | None = None) -> None:
        """Write a checkpoint with plain contents, atomically; only the first process writes.

        Raises:
            DiskError: it cannot be written; earlier checkpoints are untouched.
        """
        random_states = gathered_random_states()
        if self.rank != 0:
            return
        content = {
            "meta": self._checkpoint_meta(meta, by_epoch),
            "state_dict": unwrapped(self.model).state_dict(),
            KEY: random_states,
            "message_hub": plain_parts(self.message_hub.state_dict()),
        }
        if save_optimizer:
            content["optimizer"] = self.optim_wrapper.state_dict()
            content["gradients"] = accumulated_gradients(self.model)
        if save_param_scheduler and self.param_schedulers is not None:
            content["param_schedulers"] = scheduler_states(self.param_schedulers)
        self.call_hook("before_save_checkpoint", checkpoint=content)
        previous = resuming.pointed(out_dir)
        expected = int(1.2 * previous.stat().st_size) if previous and previous.is_file() else 0
        checkpoints.save(content, Path(out_dir) / filename, expected_bytes=expected)

    def _checkpoint_meta(self, meta: dict | None, by_epoch: bool) -> dict:
        """Where training stands: hooks save after a step but before mmengine counts it, hence the + 1."""
        epoch, step = (self.epoch + 1, self.iter) if by_epoch else (self.epoch, self.iter + 1)
        return {"epoch": epoch, "iter": step, "seed": self.seed, "config": name_of(self.cfg),
                **(meta or {})}

    def close(self) -> None:
        """End the data workers; close the log file and the visualizer's backends."""
        for loop in (self._train_loop, self._val_loop, self._test_loop):
            if isinstance(loader := getattr(loop, "dataloader", None), WatchedLoader):
                loader.close()
        self.visualizer.close()
        for handler in list(self.logger.handlers):
            handler.close()
            if isinstance(handler, logging.FileHandler):  # whoever logs later in this process would find it closed
                self.logger.removeHandler(handler)

    def _log_env(self, env_cfg: dict) -> None:
        """Nothing: config.py has the config, and `clipapps doctor` the environment."""


def train(cfg: Config, work_dir: str | Path, *, seed: int | None = None, resume: bool | str | Path = False,
          device: str = "auto", amp: bool = False, launcher: str = "none", force: bool = False) -> dict[str, Any]:
    """Train a config and write its work folder: config.py, scalars.jsonl, checkpoints, pictures, metrics.json.

    Args:
        cfg: from `load_config`.
        work_dir: made if absent; everything is written there.
        seed: of all random numbers; None takes the config's, else 0.
        resume: True goes on from the newest checkpoint of `work_dir` that opens (from the start without one);
            a path goes on from that checkpoint.
        device: "auto", "cpu", "cuda" or "cuda:<n>".
        amp: mixed precision.
        launcher: "none" or "pytorch" (started by torchrun).
        force: resume even where the model has changed: weights that fit are taken, the optimizer starts anew.

    Returns:
        the metrics of the last validation as fractions in 0..1, with config, seed, iterations, seconds, device.

    Raises:
        DiskError: `work_dir` cannot be written (before the first step) or fills up later.
        NonFiniteLossError: the loss is not finite.
    """
    if cfg.get("train_cfg") is None:
        raise ConfigError(f"{name_of(cfg)} trains nothing: it has no train_cfg. `clipapps test` evaluates it.")
    started, cfg = time.monotonic(), copy.deepcopy(cfg)
    folder, is_first = Path(work_dir), process_rank(launcher) == 0
    complete(cfg, folder, seed=seed, device=device, launcher=launcher)
    with gone_if_nothing_ran(folder) if is_first else nullcontext():
        if is_first:
            open_folder(folder)
        checkpoint = _resume_point(folder, resume)
        if amp:
            use_mixed_precision(cfg, pick_device(device))
        if is_first:
            _begin(cfg, folder, is_resuming=checkpoint is not None, force=force)
        cfg.resume, cfg.load_from = checkpoint is not None, str(checkpoint) if checkpoint else cfg.get("load_from")
        with closing(Runner.from_cfg(cfg)) as runner:
            runner.is_forced = force and checkpoint is not None
            with noted_signals() as runner.interruption:
                runner.train()
            if runner.val_loop is not None and not runner.metrics:  # resumed after the last validation had begun
                runner.val_loop.run()
            return _report(runner, folder, started)


def test(cfg: Config, weights: str | Path | None, out: str | Path, *, device: str = "auto") -> dict[str, Any]:
    """Evaluate weights on the config's test set and write metrics.json into `out`.

    Args:
        cfg: from `load_config`; its pretrained weights are not loaded.
        weights: safetensors or a checkpoint of this config's model; None for a config that trains nothing.
        out: folder, made if absent.
        device: "auto", "cpu", "cuda" or "cuda:<n>".

    Raises:
        ConfigError: the config has no test set.
        WeightsError: the weights cannot be read, belong to another model, or are not given for a model that trains.
    """
    started, cfg = time.monotonic(), copy.deepcopy(cfg)
    folder = Path(out)
    if cfg.get("test_dataloader") is None:
        raise ConfigError(f"{cfg.filename} has no test_dataloader, so there is nothing to test.")
    if weights is None and cfg.get("train_cfg") is not None and cfg.get("load_from") is None:
        raise WeightsError(f"The model of {name_of(cfg)} has to be trained first; name the weights to test: "
                           f"clipapps test CONFIG work_dirs/{name_of(cfg)}/best.safetensors")
    complete(cfg, folder, seed=None, device=device, launcher="none")
    open_folder(folder)
    for key in ("train_dataloader", "train_cfg", "optim_wrapper", "param_scheduler",
                "val_dataloader", "val_cfg", "val_evaluator"):
        cfg[key] = None
    cfg.resume, cfg.load_from = False, str(weights) if weights is not None else cfg.get("load_from")
    with closing(Runner.from_cfg(cfg)) as runner:
        runner.test()
        return _report(runner, folder, started)


def _begin(cfg: Config, folder: Path, *, is_resuming: bool, force: bool) -> None:
    """Set an earlier run aside, or show how the config differs from the resumed one; write config.py."""
    content = portable(cfg)
    if is_resuming:
        if (folder / CONFIG).is_file():
            print_config_changes(read_config(folder / CONFIG), content, is_forced=force)
    elif old := set_aside(folder):
        print(f"An earlier run was moved to {old}.", flush=True)
        start = Path(cfg.get("load_from") or old)
        if not start.exists() and (old / start.name).exists():
            cfg.load_from = str(old / start.name)
    write_text(folder / CONFIG, content.pretty_text + "\n")


def _resume_point(folder: Path, resume: bool | str | Path) -> Path | None:
    if resume is False:
        return None
    if resume is not True:
        checkpoints.load(resume)
        return Path(resume)
    found, complaints = resuming.newest(folder)
    for complaint in complaints:
        logging.getLogger("clipapps").warning("%s", complaint)
    return found


def _number(value: Any) -> float | None:
    """A metric as a number that JSON has; None for what is no single number, and for nan and inf."""
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError):  # text, lists, arrays and tensors of several numbers
        return None
    return number if math.isfinite(number) else None


def _report(runner: Runner, folder: Path, started: float) -> dict[str, Any]:
    metrics: dict[str, Any] = {name: number for name, value in runner.metrics.items()
                               if (number := _number(value)) is not None}
    metrics.update(config=name_of(runner.cfg), seed=runner.seed,
                   iterations=runner.iter if runner._train_loop is not None else 0,
                   seconds=round(time.monotonic() - started, 1), device=str(runner.device))
    if runner.rank == 0:
        print_bad_samples(folder / BAD_SAMPLES)
        write_json(folder / METRICS, metrics)
    return metrics
