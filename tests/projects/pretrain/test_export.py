"""The shipped file: complete, small, and good enough to build on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from clipapps.clip import CLIPBackbone
from clipapps.engine import checkpoint
from clipapps.errors import WeightsError
from clipapps.projects.pretrain.evaluate import evaluate
from clipapps.projects.pretrain.export import export, shrink, token_rows
from clipapps.projects.pretrain.models import ContrastivePretrainer
from clipapps.toyworld import SceneSpec, ToyWorldScenes, known_words, sample_caption, sample_scene
from clipapps.toyworld.captions import count_tokens

ASSET = Path(__file__).parents[3] / "clipapps" / "clip" / "assets" / "tiny-rn.safetensors"


@pytest.fixture(scope="module")
def untrained() -> CLIPBackbone:
    torch.manual_seed(0)
    return CLIPBackbone("tiny-rn").eval()


def test_every_token_of_every_caption_keeps_its_row(untrained: CLIPBackbone) -> None:
    rows = set(token_rows(untrained, known_words()).tolist())
    spec = SceneSpec(min_objects=1, max_objects=4, depth=0.4, empty=0.05)
    texts = [sample_caption(sample_scene(0, i, spec), 0, i).text for i in range(3000)]
    assert untrained.token_counts(texts) == [count_tokens(text) + 2 for text in texts]
    ids = untrained.tokenize(texts)
    assert set(ids.unique().tolist()) - rows <= {0}  # 0 fills up, behind the end token


def test_an_exported_file_gives_the_same_embeddings(untrained: CLIPBackbone, tmp_path: Path) -> None:
    model = ContrastivePretrainer(untrained)
    checkpoint.save({"state_dict": model.state_dict()}, tmp_path / "last.pth")
    export(tmp_path / "last.pth", tmp_path / "small.safetensors", note="a test")
    meta = checkpoint.read_metadata(tmp_path / "small.safetensors")
    assert meta["format"] == "clipapps-clip/1" and meta["arch"] == "tiny-rn" and meta["made_by"] == "a test"
    assert set(meta["seen_words"].split()) == known_words()
    loaded = CLIPBackbone.from_pretrained("tiny-rn", str(tmp_path / "small.safetensors"))
    captions, images = ["a red star", "a mug in the dark."], torch.randn(2, 3, 128, 128)
    with torch.no_grad():
        for ours, theirs in ((loaded.encode_text(captions), untrained.encode_text(captions)),
                             (loaded(images).pooled, untrained(images).pooled)):
            assert torch.nn.functional.cosine_similarity(ours, theirs).min() > 0.999


def test_another_checkpoint_and_a_value_too_large_are_refused(tmp_path: Path) -> None:
    checkpoint.save({"state_dict": {"weight": torch.zeros(1)}}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="ContrastivePretrainer"):
        export(tmp_path / "other.pth", tmp_path / "small.safetensors")
    state = {"token_embedding.weight": torch.zeros(4, 2), "visual.scale": torch.tensor([1e6])}
    with pytest.raises(WeightsError, match="visual.scale"):
        shrink(state, torch.tensor([1], dtype=torch.int32))


def scores(num_scenes: int, **stage: object) -> dict[str, float]:
    dataset = ToyWorldScenes(num_scenes=num_scenes, size=128, seed=77, split="test", with_masks=True, **stage)
    return evaluate(CLIPBackbone.from_pretrained("tiny-rn", "builtin"), dataset)


@pytest.mark.skipif(not ASSET.is_file(), reason="no built-in weights in this checkout")
def test_the_shipped_weights_pass_the_gate() -> None:
    assert ASSET.stat().st_size <= 12 * 2**20
    found = scores(120)
    assert found["category_acc"] >= 0.8 and found["color_acc"] >= 0.8, found


@pytest.mark.skipif(not ASSET.is_file(), reason="no built-in weights in this checkout")
def test_the_shipped_weights_know_where_things_are() -> None:
    found = scores(60, spec=dict(min_objects=2, max_objects=3))
    assert found["dense_category_acc"] >= 0.25, found  # chance is 0.1
