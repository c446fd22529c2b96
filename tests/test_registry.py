"""Names in configs: a dotted path of ours is imported once, from wherever the command runs."""

from __future__ import annotations

import sys

import pytest
from mmengine import registry as root

from clipapps.registry import MODELS


@pytest.mark.parametrize("registry", [MODELS, root.MODELS], ids=["ours", "mmengine's"])
def test_a_checkout_in_the_path_is_not_imported_a_second_time(registry, monkeypatch, tmp_path) -> None:
    package = tmp_path / "projects" / "denseclip"
    package.mkdir(parents=True)
    (package / "preprocessing.py").write_text("raise RuntimeError('the wrong one')")
    monkeypatch.syspath_prepend(tmp_path)
    found = registry.get("clipapps.projects.denseclip.preprocessing.CLIPSegPreprocessor")
    assert found is not None and found.__module__ == "clipapps.projects.denseclip.preprocessing"
    assert "projects.denseclip.preprocessing" not in sys.modules


def test_dotted_paths_of_others_and_wrong_ones() -> None:
    import torch

    assert root.OPTIMIZERS.get("torch.optim.AdamW") is torch.optim.AdamW
    with pytest.raises(RuntimeError):
        root.MODELS.get("clipapps.projects.denseclip.models.NoSuchModel")
