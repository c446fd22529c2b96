"""Configs by name and path, overrides, and what is said when they are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipapps.engine.config import find_config, list_configs, load_config, parse_value
from clipapps.engine.config_name import config_name
from clipapps.errors import ConfigError


def finding(*arguments) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(*arguments)
    return str(caught.value)


def test_every_project_config_is_listed_by_name_and_parts_are_not():
    configs = list_configs()
    assert "denseclip/denseclip_fpn_tiny_toyworld" in configs
    assert all(file.is_file() for file in configs.values())
    assert not any("_base_" in name or "__init__" in name for name in configs)


def test_a_third_party_project_is_listed_too(tmp_path, monkeypatch):
    from clipapps import project

    package = tmp_path / "outside_plugin"
    (package / "configs" / "nested").mkdir(parents=True)
    for file in ("__init__.py", "configs/mine.py", "configs/nested/deep.py", "configs/_part.py"):
        (package / file).write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    record = project.Project(name="outside", package="outside_plugin", summary="")
    monkeypatch.setattr("clipapps.engine.config.discover", lambda: {"outside": record})
    assert list(list_configs()) == ["outside/mine", "outside/nested/deep"]


def test_an_unknown_name_gets_a_suggestion():
    assert "Did you mean 'denseclip/denseclip_fpn_tiny_toyworld'?" in finding("denseclip/denseclip_fpn_tiny_toywrld")
    assert "There is no config file nowhere.py" in finding("nowhere.py")


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("x = 1")
    assert "is no config" in finding(tmp_path / "a.txt")


def test_both_styles_load(toy_config, tmp_path):
    text_style = tmp_path / "text.py"
    text_style.write_text("model = dict(type='engine_toy_task.ToyModel', width=4)\n")
    assert load_config(text_style).model.width == 4
    assert load_config(toy_config).model.type.__name__ == "ToyModel"


def test_the_dumped_config_loads_again_and_says_the_same(toy_config, tmp_path):
    cfg = load_config(toy_config, ["model.width=5"])
    (tmp_path / "config.py").write_text(cfg.pretty_text)
    again = load_config(tmp_path / "config.py")
    assert again.model.width == 5
    assert again.to_dict() == cfg.to_dict()


@pytest.mark.parametrize(("text", "value"), [
    ("1", 1), ("1e-4", 1e-4), ("[1, 2]", [1, 2]), ("(1, 2)", (1, 2)), ("1,2", [1, 2]), ("true", True), ("False", False),
    ("None", None), ("RN50", "RN50"), ("'1'", "1"), ("[a, b]", ["a", "b"]), ("{'a': 1}", {"a": 1}), ("", ""),
    ("a/b.pth", "a/b.pth"), ("[", "["),
])
def test_values_are_python_literals_or_words(text, value):
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


def test_overrides_reach_dicts_lists_and_arguments_that_were_left_out(toy_config):
    cfg = load_config(toy_config, ["model.dropout=0.5", "param_scheduler.0.power=2", "train_dataloader.drop_last=True",
                                   "optim_wrapper.clip_grad.max_norm=1", "default_hooks.curves.pause=3",
                                   "randomness.seed=4"])
    assert cfg.model.dropout == 0.5
    assert cfg.param_scheduler[0].power == 2
    assert cfg.train_dataloader.drop_last is True
    assert cfg.optim_wrapper.clip_grad.max_norm == 1
    assert cfg.default_hooks.curves.pause == 3
    assert cfg.randomness.seed == 4


@pytest.mark.parametrize(("override", "words"), [
    ("model.widht=3", "model.widht: there is no such key. Did you mean 'width'?"),
    ("modl.width=3", "Did you mean 'model'?"),
    ("train_dataloader.batchsize=3", "Did you mean 'batch_size'?"),
    ("train_dataloader.dataset.sise=3", "Did you mean 'size'?"),
    ("param_scheduler.3.power=1", "the list has 1 entries"),
    ("param_scheduler.power=1", "numbered 0 to 0"),
    ("model.width.x=1", "has no keys"),
    ("model", "written a.b=value"),
    ("_private=1", "private to its file"),
    ("default_hooks.chekpoint.interval=1", "Did you mean 'checkpoint'?"),
])
def test_a_wrong_override_is_named(toy_config, override, words):
    assert words in finding(toy_config, [override])


def test_all_wrong_overrides_and_keys_are_reported_at_once(tmp_path):
    config = tmp_path / "c.py"
    config.write_text("model = dict(type='engine_toy_task.ToyModel', widht=4)\nmodle = 1\n")
    message = finding(config, ["model.a=1", "b.c=2"])
    assert "4 findings" in message
    for key in ("model.a:", "b:", "model.widht:", "modle:"):
        assert f"\n  {key}" in message


def test_import_and_syntax_errors_name_file_and_line(tmp_path):
    wrong = tmp_path / "wrong.py"
    wrong.write_text("from mmengine.config import read_base\n\nfrom no_such_package.models import Model\n\n"
                     "model = dict(type=Model)\n")
    message = finding(wrong)
    assert "model.type: no_such_package.models.Model cannot be imported" in message
    assert f"{wrong}, line 3" in message
    wrong.write_text("model = dict(type='x'\n")
    assert f"{wrong}, line 1" in finding(wrong)
    wrong.write_text("model = dict()\nx = 1 / 0\n")
    assert f"{wrong}, line 2: ZeroDivisionError" in finding(wrong)


def test_an_error_in_a_base_does_not_leave_mmengine_in_lazy_mode(tmp_path):
    from mmengine.config import ConfigDict

    (tmp_path / "c.py").write_text("from mmengine.config import read_base\n"
                                   "with read_base():\n    from .gone import *\n")
    assert "gone" in finding(tmp_path / "c.py")
    assert ConfigDict.lazy is False


def test_names():
    assert config_name("denseclip/x_y") == "x_y"
    assert config_name("some/folder/x.py") == "x"
    assert config_name(Path("/a/b.c/x.py")) == "x"
    assert find_config("denseclip/fpn_tiny_toyworld").name == "fpn_tiny_toyworld.py"


def test_home_and_variables_in_a_data_root_are_expanded_and_nothing_else_is(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("DATA", "/big disk")
    monkeypatch.delenv("NOWHERE", raising=False)
    for written, found in (("~/ade", "/home/me/ade"), ("$DATA/a", "/big disk/a"), ("${DATA}/../b", "/big disk/../b"),
                           ("$NOWHERE/ade", "$NOWHERE/ade"), ("../ade", "../ade"), ("/ade", "/ade")):
        cfg = load_config("denseclip/fpn_tiny_camvid", [f"data_root={written}"])
        assert {cfg[f"{split}_dataloader"].dataset.data_root for split in ("train", "val", "test")} == {found}
    prefix = "train_dataloader.dataset.data_prefix.img_path"
    cfg = load_config("denseclip/fpn_tiny_camvid", [f"{prefix}=../other/$DATA/~"])
    assert cfg.train_dataloader.dataset.data_prefix.img_path == "../other/$DATA/~"
