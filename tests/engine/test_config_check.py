"""The strict check: every wrong key is found, named in full, and nearly always answered with the right one."""

from __future__ import annotations

import copy
import random
import string
from typing import Any

import pytest

from clipapps.engine.config import list_configs, load_config, read_config
from clipapps.engine.config_check import accepted_keys, check_config

REAL = "denseclip/denseclip_fpn_tiny_toyworld"


def errors_of(content: dict[str, Any]) -> list[str]:
    from mmengine import Config

    return check_config(Config(content))[0]


def toy(**changes: Any) -> dict[str, Any]:
    return {"model": dict(type="engine_toy_task.ToyModel"), **changes}


def all_keys(node: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], str]]:
    if isinstance(node, dict):
        return [entry for key, value in dict.items(node) for entry in [(path, key), *all_keys(value, (*path, key))]]
    if isinstance(node, (list, tuple)):
        return [entry for index, value in enumerate(node) for entry in all_keys(value, (*path, str(index)))]
    return []


def node_at(cfg: Any, path: tuple[str, ...]) -> Any:
    node = cfg._cfg_dict
    for step in path:
        node = node[int(step)] if isinstance(node, list) else dict.get(node, step)
    return node


def renamed(cfg: Any, path: tuple[str, ...], old: str, new: str) -> Any:
    changed = copy.deepcopy(cfg)
    node = node_at(changed, path)
    dict.__setitem__(node, new, dict.pop(node, old))
    return changed


def misspelled(word: str, generator: random.Random, edits: int) -> str:
    for _ in range(edits):
        place, letter = generator.randrange(len(word)), generator.choice(string.ascii_lowercase)
        word = generator.choice([
            word[:place] + letter + word[place:], word[:place] + letter + word[place + 1:],
            word[:place] + word[place + 1:] if len(word) > 2 else word + letter,
            word[:place] + word[place + 1:place + 2] + word[place:place + 1] + word[place + 2:]])
    return word


@pytest.fixture(scope="module")
def real() -> Any:
    return load_config(REAL)


def known_keys(cfg: Any) -> list[tuple[tuple[str, ...], str]]:
    """Keys that some signature or place accepts, outside private names."""
    return [(path, key) for path, key in all_keys(cfg._cfg_dict)
            if key != "type" and key not in cfg._imported_names and not (*path, key)[0].startswith("_")
            and key in accepted_keys(cfg, list(path))]


@pytest.mark.parametrize("name", sorted(list_configs()))
def test_shipped_configs_have_no_findings(name):
    errors, warnings = check_config(read_config(list_configs()[name]))
    assert errors == []
    assert warnings == []


def suggestions(real: Any, path: tuple[str, ...], key: str, typo: str) -> list[str]:
    """What the check says about a key that was misspelled."""
    return [error for error in check_config(renamed(real, path, key, typo))[0]
            if error.startswith(".".join((*path, typo)) + ":")]


def test_at_least_95_percent_of_200_typos_at_5_depths_get_the_right_suggestion(real):
    """Forty at each depth, of one or two edits; all are found, and the nearest key is nearly always the right one."""
    generator, right = random.Random(20), {}
    for depth in range(1, 6):
        keys = [(path, key) for path, key in known_keys(real) if len(path) == depth - 1 and len(key) > 2]
        right[depth] = total = 0
        while total < 40:
            path, key = generator.choice(keys)
            typo = misspelled(key, generator, generator.choice([1, 2]) if len(key) > 3 else 1)
            if typo == key or typo.startswith("_") or typo in accepted_keys(real, list(path)):
                continue
            total += 1
            mine = suggestions(real, path, key, typo)
            assert len(mine) == 1
            right[depth] += mine[0].endswith(f"Did you mean {key!r}?")
    assert sum(right.values()) >= 190, right


def test_all_typos_of_a_command_line_come_at_once_and_nothing_is_built(tmp_path, clipapps_cli, monkeypatch):
    monkeypatch.setattr("clipapps.engine.runner.Runner.from_cfg", lambda cfg: pytest.fail("built"))
    typos = {"train_dataloder.batch_size": "train_dataloader", "model.clas_names": "class_names",
             "optim_wrapper.optimizer.lrr": "lr", "model.decode_head.loss_decode.loss_wieght": "loss_weight",
             "train_dataloader.dataset.pipeline.0.meta_kesy": "meta_keys"}
    result = clipapps_cli("train", REAL, "--work-dir", tmp_path / "run", *(f"{key}=1" for key in typos))
    assert result.code == 2
    assert "5 findings" in result.err
    assert all(f"Did you mean {right!r}?" in result.err for right in typos.values()), result.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("path", "old", "new"), [
    ((), "train_dataloader", "train_dataloder"),
    (("model",), "class_names", "clas_names"),
    (("model", "backbone"), "trainable", "trianable"),
    (("model", "decode_head", "loss_decode"), "loss_weight", "loss_wieght"),
    (("train_dataloader", "dataset", "pipeline", "0"), "meta_keys", "meta_kesy"),
    (("optim_wrapper", "paramwise_cfg", "custom_keys", "norm"), "decay_mult", "decay_mutl"),
])
def test_one_typo_is_one_finding_at_every_depth(real, path, old, new):
    node = node_at(real, path)
    cfg = copy.deepcopy(real)
    if not dict.__contains__(node, old):
        dict.__setitem__(node_at(cfg, path), old, ("img_path",))
    errors = check_config(renamed(cfg, path, old, new))[0]
    assert len(errors) == 1
    assert errors[0].startswith(".".join((*path, new)) + ":")
    assert errors[0].endswith(f"Did you mean {old!r}?")


def test_all_findings_come_at_once():
    errors = errors_of(toy(modle=1, model=dict(type="engine_toy_task.ToyModel", widht=1),
                           optim_wrapper=dict(optimizer=dict(type="AdmaW", lr=1.0)), randomness=dict(sed=1)))
    assert [error.partition(":")[0] for error in errors] == [
        "model.widht", "modle", "optim_wrapper.optimizer.type", "randomness.sed", "train_dataloader", "train_cfg"]


@pytest.mark.parametrize(("content", "kind"), [
    (dict(optim_wrapper=dict(optimizer=dict(type="AdmaW"))), "AdamW"),
    (dict(train_cfg=dict(type="IterBasedTranLoop", max_iters=1)), "IterBasedTrainLoop"),
    (dict(custom_hooks=[dict(type="EMAHok")]), "EMAHook"),
    (dict(model=dict(type="CLIPBackbnoe")), "CLIPBackbone"),
])
def test_an_unknown_class_name_gets_a_suggestion(content, kind):
    assert any(f"Did you mean {kind!r}?" in error for error in errors_of(toy(**content)))


def test_a_class_of_a_project_is_found_by_name():
    assert errors_of({"model": dict(type="CLIPBackbone", arch="tiny-rn")}) == []
    assert "no argument 'arhc'" in errors_of({"model": dict(type="CLIPBackbone", arch="tiny-rn", arhc=1)})[0]


def test_missing_arguments_are_findings_only_where_they_are_certain():
    errors = errors_of(toy(train_dataloader=dict(dataset=dict(type="engine_toy_task.ToyData"), batch_size=1),
                           train_cfg=dict(by_epoch=False), optim_wrapper=dict(optimizer=dict(type="SGD", lr=1.0)),
                           param_scheduler=dict(type="PolyLR")))
    assert errors == ["train_cfg.max_iters: missing; IterBasedTrainLoop needs it."]


def test_text_where_a_number_belongs():
    errors = errors_of(toy(model=dict(type="engine_toy_task.ToyModel", width="ten")))
    assert errors == ["model.width: 'ten' is text, but int is expected."]


def test_what_builders_take_themselves_is_no_finding():
    pytest.importorskip("mmseg")
    assert errors_of({
        "model": dict(type="mmseg.models.decode_heads.FPNHead", feature_strides=[4, 8], in_channels=[8, 8],
                      in_index=[0, 1], channels=8, num_classes=3,
                      norm_cfg=dict(type="BN", requires_grad=True, eps=1e-3),
                      act_cfg=dict(type="ReLU"), init_cfg=dict(type="Normal", std=0.01, override=dict(name="conv_seg")),
                      loss_decode=dict(type="CrossEntropyLoss")),
        "default_hooks": dict(logger=dict(interval=5), timer=None, checkpoint=dict(interval=2, priority="LOW")),
        "custom_hooks": [dict(type="EMAHook", ema_type="ExponentialMovingAverage", momentum=0.1)],
        "visualizer": dict(type="Visualizer", vis_backends=[dict(type="TensorboardVisBackend")]),
        "param_scheduler": [dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=5),
                            dict(type="CosineAnnealingLR", T_max=3, convert_to_iter_based=True)],
        "optim_wrapper": dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=1.0), accumulative_counts=2,
                              clip_grad=dict(max_norm=1.0), paramwise_cfg=dict(custom_keys={"x": dict(lr_mult=0.1)})),
        "train_cfg": dict(by_epoch=False, max_iters=1), "train_dataloader": dict(
            batch_size=1, dataset=dict(type="RepeatDataset", times=2, dataset=dict(type="engine_toy_task.ToyData")),
            sampler=dict(type="DefaultSampler", shuffle=True), collate_fn=dict(type="default_collate")),
        "env_cfg": dict(cudnn_benchmark=True, dist_cfg=dict(backend="gloo")),
        "_private": dict(anything=1),
    }) == []


def test_nothing_is_built_by_the_check():
    class Bomb:
        def __init__(self, fuse: int = 1) -> None:
            raise AssertionError("built")

    assert errors_of({"model": dict(type=Bomb, fuse=2)}) == []
