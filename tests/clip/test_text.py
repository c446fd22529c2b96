"""Text tower, prompts, and class embeddings."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from clipapps.clip import CLIPBackbone, insert_contexts
from clipapps.clip.prompts import fill_templates
from clipapps.errors import UserError

Build = Callable[..., CLIPBackbone]


def test_embeddings_path_equals_strings_path(any_backbone: CLIPBackbone) -> None:
    ids = any_backbone.tokenize(["a red star", "boat"])
    embeds = any_backbone.encode_text_embeddings(any_backbone.embed_tokens(ids), any_backbone.pool_index(ids))
    assert torch.equal(embeds, any_backbone.encode_text(["a red star", "boat"]))


def test_padding_does_not_matter_to_a_causal_tower(vit: CLIPBackbone) -> None:
    names = ["a red star", "boat"]
    short, full = vit.tokenize(names, 5), vit.tokenize(names)
    torch.testing.assert_close(vit.encode_text(short), vit.encode_text(full), atol=1e-6, rtol=1e-5)


def test_pool_index_is_the_first_end_token(vit: CLIPBackbone) -> None:
    ids = torch.tensor([[49406, 320, 49407, 0, 0], [49406, 49407, 0, 49407, 0], [5, 9, 2, 9, 1]])
    assert vit.pool_index(ids).tolist() == [2, 1, 1]


@pytest.mark.parametrize(("position", "expected"), [
    ("front", [[0, 90, 91, 92, 1, 2, 3, 4], [0, 90, 91, 92, 1, 2, 3, 4]]),
    ("end", [[0, 1, 90, 91, 92, 2, 3, 4], [0, 1, 2, 3, 90, 91, 92, 4]]),
    ("middle", [[0, 90, 1, 91, 92, 2, 3, 4], [0, 90, 1, 2, 3, 91, 92, 4]]),
])
def test_contexts_stand_where_they_should(position: str, expected: list[list[int]]) -> None:
    embeds = torch.arange(5.0).view(1, 5, 1).expand(2, 5, 1)
    contexts = torch.tensor([90.0, 91.0, 92.0]).view(3, 1)
    result, index = insert_contexts(embeds, contexts, torch.tensor([2, 4]), position)
    assert result.squeeze(-1).int().tolist() == expected
    assert index.tolist() == [5, 7]


def test_contexts_may_differ_by_class_and_by_image() -> None:
    embeds, ends = torch.zeros(2, 4, 1), torch.tensor([2, 3])
    by_class, _ = insert_contexts(embeds, torch.tensor([[[1.0]], [[2.0]]]), ends)
    assert by_class[:, 1, 0].tolist() == [1.0, 2.0]
    by_image, index = insert_contexts(embeds, torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1, 1), ends)
    assert by_image.shape == (3, 2, 5, 1) and index.shape == (3, 2)
    assert by_image[:, :, 1, 0].tolist() == [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]


def test_contexts_get_gradients_through_a_frozen_tower(build: Build) -> None:
    backbone = build("vit_token", trainable="none")
    contexts = torch.randn(4, backbone.text_width, requires_grad=True)
    ids = backbone.tokenize(["star", "boat"], 5)
    embeds, index = insert_contexts(backbone.embed_tokens(ids), contexts, backbone.pool_index(ids))
    backbone.encode_text_embeddings(embeds, index).sum().backward()
    assert contexts.grad.abs().min() > 0
    assert all(p.grad is None for p in backbone.parameters())


@pytest.mark.parametrize(("position", "width", "message"), [
    ("centre", 8, "choose one of front, middle, end"), ("front", 7, "Contexts are 7 wide, the token embeddings 8")])
def test_wrong_contexts_are_explained(position: str, width: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        insert_contexts(torch.zeros(1, 4, 8), torch.zeros(2, width), torch.tensor([2]), position)


def test_a_text_that_does_not_fit_is_refused_not_cut(vit: CLIPBackbone) -> None:
    with pytest.raises(UserError, match=r"has 17 tokens .start and end included.; 16 fit"):
        vit.tokenize(["star " * 15])
    with pytest.raises(UserError, match="this text tower reads 16"):
        vit.encode_text_embeddings(torch.zeros(1, 17, vit.text_width), torch.tensor([3]))


def test_prompt_ensemble_is_the_normalized_mean_of_normalized_embeddings(vit: CLIPBackbone) -> None:
    templates = ("{}", "a photo of a {}.")
    parts = [F.normalize(vit.encode_text([t.format(n) for n in ("star", "boat")]), dim=-1) for t in templates]
    expected = F.normalize(torch.stack(parts).mean(dim=0), dim=-1)
    torch.testing.assert_close(vit.encode_classes(("star", "boat"), templates), expected, atol=1e-6, rtol=1e-5)


def test_class_embeddings_refresh_when_an_input_changes(build: Build) -> None:
    backbone = build("vit_token", trainable="none")
    first = backbone.encode_classes(["star", "boat"])
    assert backbone.encode_classes(["star", "boat"]) is first
    assert not torch.equal(backbone.encode_classes(["star", "tree"])[1], first[1])
    with torch.no_grad():
        backbone.model.token_embedding.weight.mul_(1.5)
    assert not torch.equal(backbone.encode_classes(["star", "boat"]), first)
    backbone.model.load_state_dict({k: v * 0.5 for k, v in backbone.model.state_dict().items()})
    assert not torch.equal(backbone.encode_classes(["star", "boat"]), first)


@pytest.mark.parametrize("trainable", ["none", "all"])
def test_class_embeddings_refresh_when_storage_is_replaced(build: Build, trainable: str) -> None:
    """Replaced twice between two calls, so that the second storage may stand where the first one stood."""
    backbone = build("vit_token", trainable=trainable)
    table = backbone.model.ln_final.bias
    with torch.no_grad():
        for value in range(5):
            first = backbone.encode_classes(["star", "boat"])
            table.data = torch.full_like(table, -1.0)
            table.data = torch.randn_like(table) + value
            assert not torch.equal(backbone.encode_classes(["star", "boat"]), first)


def test_class_embeddings_refresh_when_an_average_of_weights_is_swapped_in(build: Build) -> None:
    """Averages are swapped in through `.data`, which torch's versions do not count."""
    backbone = build("vit_token", trainable="all")
    table = backbone.model.token_embedding.weight
    with torch.no_grad():
        first = backbone.encode_classes(["star", "boat"])
        assert backbone.encode_classes(["star", "boat"]) is first
        table.data.copy_(0.9 * table.data + 0.1 * torch.randn_like(table))
        swapped = backbone.encode_classes(["star", "boat"])
        table.data.mul_(1.001)
        assert not torch.equal(swapped, first)
        assert not torch.equal(backbone.encode_classes(["star", "boat"]), swapped)


def test_a_copied_backbone_has_a_cache_of_its_own(build: Build) -> None:
    backbone = build("vit_token", trainable="none")
    first = backbone.encode_classes(["star", "boat"])
    other = pickle.loads(pickle.dumps(copy.deepcopy(backbone)))
    assert torch.equal(other.encode_classes(["star", "boat"]), first)
    with torch.no_grad():
        other.model.ln_final.bias.add_(1.0)
    assert not torch.equal(other.encode_classes(["star", "boat"]), first)
    assert backbone.encode_classes(["star", "boat"]) is first


def test_token_ids_of_another_tokenizer_are_named(vit: CLIPBackbone) -> None:
    with pytest.raises(UserError, match="go from 0 to 49407 .* these go from 0 to 50000"):
        vit.encode_text(torch.tensor([[49406, 0, 50000]]))
    with pytest.raises(UserError, match="these go from -1 to 5"):
        vit.embed_tokens(torch.tensor([[5, -1]]))


def test_remembered_class_embeddings_survive_what_a_caller_does_to_them(build: Build) -> None:
    backbone = build("vit_token", trainable="none")
    expected = backbone.encode_classes(["star", "boat"]).clone()
    backbone.encode_classes(["star", "boat"]).zero_()
    assert torch.equal(backbone.encode_classes(["star", "boat"]), expected)


def test_class_embeddings_made_in_inference_mode_serve_training(build: Build) -> None:
    backbone = build("vit_token", trainable="none")
    with torch.inference_mode():
        backbone.encode_classes(["star", "boat"])
    head = torch.nn.Linear(backbone.embed_dim, backbone.embed_dim)
    (head(torch.ones(1, backbone.embed_dim)) @ backbone.encode_classes(["star", "boat"]).T).sum().backward()
    assert head.weight.grad.abs().sum() > 0


def test_class_embeddings_of_no_names_are_refused(vit: CLIPBackbone) -> None:
    with pytest.raises(UserError, match="at least one name"):
        vit.encode_classes([])


def test_class_embeddings_keep_gradients_of_a_trainable_tower(vit: CLIPBackbone) -> None:
    assert vit.encode_classes(["star"]).requires_grad


def test_template_without_a_place_for_the_name_is_refused() -> None:
    with pytest.raises(UserError, match="has no {} for the name"):
        fill_templates(["star"], ["a photo"])


def test_vocabulary_gives_the_text_of_every_token() -> None:
    backbone = CLIPBackbone("tiny-rn")
    words = backbone.vocabulary()
    assert len(words) == 49408
    assert words[int(backbone.tokenize(["cat"])[0, 1])] == "cat"
