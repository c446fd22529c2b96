"""`clipapps config`: show and check, on every config that ships and on wrong ones."""

from __future__ import annotations

import json

import pytest

TOYWORLD = "denseclip/denseclip_fpn_tiny_toyworld"


def test_show_prints_a_config_that_loads_again(clipapps_cli, tmp_path):
    shown = clipapps_cli("config", "show", TOYWORLD, "train_cfg.max_iters=7")
    assert shown.code == 0
    file = tmp_path / "again.py"
    file.write_text(shown.out)
    again = clipapps_cli("config", "show", file)
    assert again.code == 0, again.err
    assert "max_iters=7" in again.out
    assert clipapps_cli("config", "check", file).code == 0


def test_every_shipped_config_passes_the_check(clipapps_cli):
    names = [row["name"] for row in json.loads(clipapps_cli("list", "configs", "--json").out)["configs"]]
    assert TOYWORLD in names
    failures = {name: result.err for name in names if (result := clipapps_cli("config", "check", name)).code}
    assert failures == {}


def test_check_lists_every_finding_at_once(clipapps_cli):
    result = clipapps_cli("config", "check", TOYWORLD, "train_cfg.max_iter=3", "--cfg-options",
                          "optim_wrapper.optimizer.lrr=1")
    assert result.code == 2
    assert "train_cfg.max_iter" in result.err and "Did you mean 'max_iters'?" in result.err
    assert "optim_wrapper.optimizer.lrr" in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize(("config", "said"), [
    ("denseclip/denseclip_fpn_tiny_toywrld", "Did you mean 'denseclip/denseclip_fpn_tiny_toyworld'?"),
    ("nowhere/config.py", "nowhere/config.py"),
])
def test_unknown_config_is_one_sentence(clipapps_cli, config, said):
    for action in ("show", "check"):
        result = clipapps_cli("config", action, config)
        assert result.code == 2 and said in result.err


def test_a_config_file_with_an_unknown_top_level_key_is_refused(clipapps_cli, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("trian_cfg = dict(max_iters=3)\n")
    result = clipapps_cli("config", "check", file)
    assert result.code == 2 and "trian_cfg" in result.err and "train_cfg" in result.err
