"""Training-free segmentation: what the scores are, how a background is named, testing without weights."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F

from clipapps.clip import CLIPBackbone
from clipapps.errors import ConfigError, UserError
from clipapps.projects.denseclip.maskclip import MaskCLIPSegmentor

NAMES = ("background", "star", "fish")


@pytest.fixture(scope="module")
def clip():
    torch.manual_seed(0)
    return CLIPBackbone("tiny-rn", dense="value", size_policy="floor", trainable="none").eval()


@pytest.fixture(scope="module")
def images():
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))


def test_scores_are_cosines_of_the_value_path_over_the_temperature(clip, images):
    model = MaskCLIPSegmentor(clip, NAMES, templates=["{}", "a photo of a {}"])
    with torch.no_grad():
        dense = clip(images, dense="value").dense
        text = torch.stack([F.normalize(clip.encode_text([f"{name}", f"a photo of a {name}"]), dim=1).mean(dim=0)
                            for name in NAMES])
        expected = F.cosine_similarity(dense[:, None], text[None, :, :, None, None], dim=2) * clip.logit_scale()
        torch.testing.assert_close(model.score(images), expected, atol=1e-4, rtol=1e-4)
        logits = model.encode_decode(images, [])
        torch.testing.assert_close(logits, F.interpolate(expected, size=(64, 96), mode="bilinear"), atol=1e-4,
                                   rtol=1e-4)
        assert torch.equal(MaskCLIPSegmentor(clip, NAMES, scale=1.0).score(images).abs() <= 1, torch.ones(2, 3, 2, 3,
                                                                                                        dtype=bool))


def test_a_class_is_as_likely_as_its_wordings_together(clip, images):
    wordings = ("sea", "night sky")
    model = MaskCLIPSegmentor(clip, NAMES, wordings={"background": wordings})
    flat = MaskCLIPSegmentor(clip, (*wordings, *NAMES[1:]))
    with torch.no_grad():
        merged, single = model.score(images).softmax(dim=1), flat.score(images).softmax(dim=1)
    torch.testing.assert_close(merged[:, 0], single[:, :2].sum(dim=1))
    torch.testing.assert_close(merged[:, 1:], single[:, 2:])


def test_names_are_encoded_once_for_all_images(clip, images, monkeypatch):
    calls, original = [], clip.encode_text_embeddings
    monkeypatch.setattr(clip, "encode_text_embeddings",
                        lambda *args, **kwargs: calls.append(1) or original(*args, **kwargs))
    model = MaskCLIPSegmentor(clip, ("one", "two"))
    for _ in range(3):
        model.score(images)
    assert len(calls) == 1


@pytest.mark.parametrize("arguments, words", [
    (dict(class_names=()), "class_names is empty"),
    (dict(class_names=("sky", " ")), "number 1 is empty"),
    (dict(class_names=NAMES, wordings={"backgroud": ["sea"]}), "Did you mean 'background'"),
])
def test_wrong_names_are_refused(clip, arguments, words):
    with pytest.raises(ConfigError, match=words):
        MaskCLIPSegmentor(clip, **arguments)


def test_it_says_that_nothing_trains(clip, images):
    with pytest.raises(UserError, match="training-free"):
        MaskCLIPSegmentor(clip, NAMES).loss(images, [])


def test_the_command_needs_no_weights_and_beats_the_trivial_answer(clipapps_cli, tmp_path):
    result = clipapps_cli("test", "denseclip/maskclip_tiny_toyworld", "test_dataloader.dataset.num_scenes=32",
                          "--out", tmp_path, "--device", "cpu")
    assert result.code == 0, result.err
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert figures["mIoU"] > figures["mIoU_all_background"] + 0.15  # 0.30 more over 200 scenes
    assert figures["mIoU_foreground"] > 0.17


def test_commands_say_what_to_do_instead(clipapps_cli, tmp_path):
    result = clipapps_cli("train", "denseclip/maskclip_tiny_toyworld", "--work-dir", tmp_path / "train")
    assert result.code == 2 and "trains nothing" in result.err and "clipapps test" in result.err
    result = clipapps_cli("test", "denseclip/fpn_tiny_toyworld", "--out", tmp_path / "test")
    assert result.code == 2 and "has to be trained first" in result.err and "best.safetensors" in result.err
    assert not list(tmp_path.rglob("metrics.json"))
