"""The places of a config: what mmengine's Runner builds where, and which keys belong to the builder, not the class."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any


@dataclass(frozen=True)
class Place:
    """What stands at one place of a config.

    Args:
        registry: name of mmengine's registry in which a string `type` is looked up; None: a plain dict.
        default: the class when `type` is absent.
        keys: keys that the builder takes itself.
        provided: arguments that the builder passes itself; they are not required from the config.
        children: places of single keys.
        each: the place of every entry that has no `type` of its own (a dict of hooks).
        entries: for `each`: the only names allowed; empty: any.
        is_certain: whether a missing required argument is surely missing.
        is_closed: a plain dict whose `keys` are all that is allowed.
    """

    registry: str | None = None
    default: Callable[..., Any] | None = None
    keys: frozenset[str] = frozenset()
    provided: frozenset[str] = frozenset()
    children: Mapping[str, Place] = field(default_factory=dict)
    each: Place | None = None
    entries: frozenset[str] = frozenset()
    is_certain: bool = True
    is_closed: bool = False


#: what an argument of these names holds, wherever it stands
BY_NAME: dict[str, Place] = {
    "pipeline": Place("TRANSFORMS"), "transforms": Place("TRANSFORMS"), "transform": Place("TRANSFORMS"),
    "dataset": Place("DATASETS"), "datasets": Place("DATASETS"), "metrics": Place("METRICS"),
    "data_preprocessor": Place("MODELS"), "batch_augments": Place("MODELS"),
    "norm_cfg": Place("MODELS", keys=frozenset({"requires_grad"}), is_certain=False),
    "act_cfg": Place("MODELS", is_certain=False), "conv_cfg": Place("MODELS", is_certain=False),
    "init_cfg": Place("WEIGHT_INITIALIZERS", keys=frozenset({"layer", "override", "name"}), is_certain=False),
    "painter": Place("VISUALIZERS"), "visualizer": Place("VISUALIZERS"),
    "vis_backends": Place("VISBACKENDS", keys=frozenset({"name"}), provided=frozenset({"save_dir"})),
}
#: top-level keys that mmengine and our Runner read from the config besides the Runner's arguments
EXTRA_TOP_LEVEL = frozenset({
    "device", "sync_bn", "find_unused_parameters", "model_wrapper_cfg", "compile", "activation_checkpointing",
    "efficient_conv_bn_eval", "custom_imports", "runner_type", "tta_model", "tta_pipeline"})
#: keys that are given together or not at all
GROUPS = (("train_dataloader", "train_cfg", "optim_wrapper"), ("val_dataloader", "val_cfg", "val_evaluator"),
          ("test_dataloader", "test_cfg", "test_evaluator"))


@cache
def runner_keys() -> frozenset[str]:
    """The top-level keys that a Runner takes."""
    from mmengine.runner import Runner

    return frozenset(inspect.signature(Runner).parameters) - {"cfg"} | EXTRA_TOP_LEVEL


@cache
def top_level_places() -> dict[str, Place]:
    """The place behind each top-level key."""
    from mmengine.evaluator import Evaluator
    from mmengine.model import MMDistributedDataParallel
    from mmengine.runner import LogProcessor, ValLoop
    from mmengine.runner import TestLoop as EvaluationLoop
    from mmengine.visualization import Visualizer

    from clipapps.engine.hooks import DEFAULT_HOOKS

    hook = Place("HOOKS", keys=frozenset({"priority"}))
    hooks = {name: replace(hook, default=cls) for name, cls in DEFAULT_HOOKS.items()}
    loop = Place("LOOPS", provided=frozenset({"runner", "dataloader", "evaluator"}))
    metric = Place("METRICS", children={"metrics": Place("METRICS")})
    visualizer = Place("VISUALIZERS", default=Visualizer, provided=frozenset({"name", "save_dir"}))
    places = {
        "model": Place("MODELS"), "data_preprocessor": Place("MODELS"),
        "tta_model": Place("MODELS", provided=frozenset({"module"})), "tta_pipeline": Place("TRANSFORMS"),
        "train_cfg": replace(loop, keys=frozenset({"by_epoch"})),
        "val_cfg": replace(loop, default=ValLoop), "test_cfg": replace(loop, default=EvaluationLoop),
        "optim_wrapper": _optim_wrapper(),
        "param_scheduler": Place("PARAM_SCHEDULERS", keys=frozenset({"convert_to_iter_based", "epoch_length"}),
                                 provided=frozenset({"optimizer"})),
        "default_hooks": Place(children=hooks, each=hook, entries=frozenset({*hooks, "visualization", "ema"})),
        "custom_hooks": hook,
        "visualizer": visualizer,
        "log_processor": Place("LOG_PROCESSORS", default=LogProcessor),
        "model_wrapper_cfg": Place("MODEL_WRAPPERS", default=MMDistributedDataParallel,
                                   provided=frozenset({"module", "device_ids"})),
        "randomness": _closed("seed", "diff_rank_seed", "deterministic"),
        "auto_scale_lr": _closed("base_batch_size", "enable"),
        "custom_imports": _closed("imports", "allow_failed_imports"),
        "env_cfg": Place(keys=frozenset({"cudnn_benchmark", "mp_cfg", "dist_cfg", "resource_limit"}), is_closed=True,
                         children={"mp_cfg": _closed("mp_start_method", "opencv_num_threads"), "dist_cfg": Place()}),
    }
    places.update({f"{split}_dataloader": _dataloader() for split in ("train", "val", "test")})
    places.update({f"{split}_evaluator": replace(metric, default=Evaluator) for split in ("val", "test")})
    return places


def child_place(parent: Place | None, key: str) -> Place | None:
    """The place of an argument; an argument without a known name is looked up where its parent was."""
    if parent is None:
        return top_level_places().get(key)
    if key in parent.children:
        return parent.children[key]
    if parent.each is not None:
        return parent.each
    if key in BY_NAME:
        return BY_NAME[key]
    return Place(parent.registry, is_certain=False)


def loop_of(train_cfg: Mapping[str, Any]) -> Callable[..., Any]:
    """The training loop that `by_epoch` chooses; while that is missing, the one whose length is given."""
    from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop

    is_by_epoch = train_cfg["by_epoch"] if "by_epoch" in train_cfg else "max_iters" not in train_cfg
    return EpochBasedTrainLoop if is_by_epoch else IterBasedTrainLoop


def _closed(*keys: str) -> Place:
    return Place(keys=frozenset(keys), is_closed=True)


def _dataloader() -> Place:
    from torch.utils.data import DataLoader

    keys = frozenset(inspect.signature(DataLoader.__init__).parameters) - {"self"}
    sampler = Place("DATA_SAMPLERS", provided=frozenset({"dataset", "seed", "sampler", "batch_size"}))
    function = Place("FUNCTIONS", is_certain=False)
    return Place(keys=keys | {"num_batch_per_epoch", "on_bad_sample", "disable_subprocess_warning"}, is_closed=True,
                 children={"dataset": Place("DATASETS"), "sampler": sampler, "batch_sampler": sampler,
                           "collate_fn": function, "worker_init_fn": function})


def _optim_wrapper() -> Place:
    from mmengine.optim import OptimWrapper

    optimizer = Place("OPTIMIZERS", provided=frozenset({"params"}))
    multipliers = _closed("lr_mult", "decay_mult")
    paramwise = Place(
        keys=frozenset({"custom_keys", "bias_lr_mult", "bias_decay_mult", "norm_decay_mult", "flat_decay_mult",
                        "dwconv_decay_mult", "dcn_offset_lr_mult", "bypass_duplicate"}),
        is_closed=True, children={"custom_keys": Place(each=multipliers)})
    return Place("OPTIM_WRAPPERS", default=OptimWrapper, keys=frozenset({"constructor", "paramwise_cfg"}),
                 provided=frozenset({"optimizer"}),
                 children={"optimizer": optimizer, "paramwise_cfg": paramwise,
                           "clip_grad": _closed("type", "max_norm", "norm_type", "error_if_nonfinite", "foreach",
                                                "clip_value")})
