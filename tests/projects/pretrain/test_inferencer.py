"""Zero-shot classification in one call."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import clipapps
from clipapps.data.images import write_image
from clipapps.errors import UserError
from clipapps.toyworld import CATEGORIES, SceneSpec, render, sample_scene

SPEC = SceneSpec(backlit=0.0, dark=0.0)


def test_the_builtin_clip_names_most_toy_objects() -> None:
    scenes = [sample_scene(501, index, SPEC) for index in range(60)]
    classify = clipapps.load("pretrain", batch_size=20)
    results = classify([render(scene, 128).image for scene in scenes])
    right = [result.best()[0][0] == scene.objects[0].category for result, scene in zip(results, scenes, strict=True)]
    assert np.mean(right) > 0.85
    assert all(result.scores.sum() == pytest.approx(1, abs=1e-4) for result in results)
    embeds = np.stack([result.embedding for result in results])
    assert np.linalg.norm(embeds, axis=1) == pytest.approx(1, abs=1e-4)


def test_names_and_sentence_are_ones_own() -> None:
    image = render(sample_scene(501, 0, SPEC), 128).image
    [result] = clipapps.load("pretrain", classes=["red", "battle tank"], template="a {} thing", arch="tiny-vit")(image)
    assert result.class_names == ("red", "battle tank") and result.method == "zero-shot, CLIP tiny-vit"
    assert "tank" in result.unknown_words and result.to_dict()["top"][0]["score"] >= 0.5
    assert result.plot().shape[0] > 128 and result.plot().shape[1] == 480


@pytest.mark.parametrize(("options", "words"), [
    (dict(classes="star"), "a list of at least one name"), (dict(classes=[]), "at least one name"),
    (dict(template="a picture"), "exactly once"), (dict(top=0), "at least 1")])
def test_what_cannot_be_asked_is_explained(options, words) -> None:
    with pytest.raises(UserError, match=words):
        clipapps.load("pretrain", **options)


def test_the_command_writes_the_answer(clipapps_cli, tmp_path) -> None:
    scene = sample_scene(501, 1, SPEC)
    write_image(tmp_path / "a.png", render(scene, 128).image)
    done = clipapps_cli("predict", "pretrain", tmp_path / "a.png", "--out", tmp_path / "out", "--top", "3")
    assert done.code == 0, done.err
    facts = json.loads((tmp_path / "out" / "a.json").read_text())
    assert len(facts["top"]) == 3 and facts["top"][0]["name"] in CATEGORIES
    assert torch.tensor([entry["score"] for entry in facts["top"]]).diff().le(0).all()
