"""`clipapps list`: kinds, JSON, and plugins of third parties, whole and broken."""

from __future__ import annotations

import json

import pytest

from clipapps.cli import list as verb

WHOLE = """
from clipapps.project import Project
PROJECT = Project(name="outside", package="outside_module", summary="A plugin from elsewhere", extra="nothing")
"""


def test_projects_as_json_have_summary_and_state(clipapps_cli):
    result = clipapps_cli("list", "projects", "--json")
    rows = {row["name"]: row for row in json.loads(result.out)["projects"]}
    assert {"denseclip", "pretrain"} <= set(rows)
    assert rows["denseclip"]["extra"] == "seg" and rows["denseclip"]["broken"] is None
    assert result.err == ""


def test_third_party_plugin_is_listed(clipapps_cli, install_plugin):
    install_plugin("outside", WHOLE)
    result = clipapps_cli("list", "projects")
    assert result.code == 0
    assert "outside" in result.out and "A plugin from elsewhere" in result.out


@pytest.mark.parametrize(("source", "reason"), [
    ("import a_package_that_is_not_there", "ModuleNotFoundError: No module named 'a_package_that_is_not_there'"),
    ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
    ("def broken(:", "SyntaxError"),
    ("", "AttributeError"),
])
def test_broken_plugin_is_reported_with_its_reason_and_hurts_nobody(clipapps_cli, install_plugin, source, reason):
    install_plugin("broken", source)
    listed = clipapps_cli("list", "projects")
    assert listed.code == 0
    assert "BROKEN: " in listed.out and reason in listed.out
    assert "denseclip" in listed.out
    rows = {row["name"]: row for row in json.loads(clipapps_cli("list", "projects", "--json").out)["projects"]}
    assert reason in rows["broken"]["broken"]
    assert rows["denseclip"]["broken"] is None


def test_configs_are_names_with_their_files(clipapps_cli):
    rows = json.loads(clipapps_cli("list", "configs", "--json").out)["configs"]
    by_name = {row["name"]: row["file"] for row in rows}
    assert by_name["denseclip/denseclip_fpn_tiny_toyworld"].endswith("denseclip_fpn_tiny_toyworld.py")
    assert "denseclip/fpn_tiny_toyworld" in by_name
    assert not any("/_" in name for name in by_name)


def test_models_and_weights_name_the_builtin_clip(clipapps_cli):
    models = [row["name"] for row in json.loads(clipapps_cli("list", "models", "--json").out)["models"]]
    assert {"tiny-rn", "RN50", "ViT-B-16"} <= set(models) and len(models) == len(set(models))
    rows = json.loads(clipapps_cli("list", "weights", "--json").out)["weights"]
    assert {"name": "builtin", "for": "tiny-rn", "source": "shipped"} in rows
    assert {"name": "openai", "for": "ViT-B-16", "source": "download"} in rows


def test_table_leaves_out_columns_that_are_empty():
    assert verb.table([{"name": "a", "extra": None, "broken": None}, {"name": "long", "extra": None, "broken": "why"}]
                      ) == "  a\n  long  BROKEN: why"
