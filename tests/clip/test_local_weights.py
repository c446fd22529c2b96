"""What is on this machine already, and how large what is not would be."""

from __future__ import annotations

import functools

import pytest

from clipapps.clip import open_clip_models
from clipapps.clip.open_clip_models import download_bytes, find_local, list_pairs, resolve_arch


def test_built_in_weights_are_here_and_come_first() -> None:
    pairs = list_pairs()
    assert pairs[:2] == [("tiny-rn", "builtin"), ("tiny-vit", "builtin")] and len(set(pairs)) == len(pairs) > 100
    for arch, tag in pairs[:2]:
        assert find_local(resolve_arch(arch), tag).name == f"{arch}.safetensors"
    assert find_local(resolve_arch("tiny-rn"), "openai") is None


def test_a_tag_in_the_hubs_cache_is_found_and_another_is_not(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(open_clip_models, "try_to_load_from_cache", functools.partial(
        open_clip_models.try_to_load_from_cache, cache_dir=tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    arch = resolve_arch("ViT-B-32-quickgelu")
    assert find_local(arch, "openai") is None
    repository = tmp_path / "models--timm--vit_base_patch32_clip_224.openai"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    (repository / "snapshots" / "abc").mkdir(parents=True)
    weights = repository / "snapshots" / "abc" / "open_clip_model.safetensors"
    weights.write_bytes(b"weights")
    assert find_local(arch, "openai") == weights
    assert find_local(arch, "laion400m_e32") is None


@pytest.mark.parametrize(("arch", "tag", "size"), [("ViT-B-32-quickgelu", "openai", 605_109_252),
                                                   ("RN50", "openai", 408_241_760)])
def test_without_a_network_the_size_is_that_of_the_parameters(arch, tag, size) -> None:
    assert download_bytes(resolve_arch(arch), tag) == (size, False)  # HF_HUB_OFFLINE is set for all tests
