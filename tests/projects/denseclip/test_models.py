"""The segmentor: what the method computes, what trains, what is remembered, what is refused."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from clipapps.errors import ConfigError
from clipapps.projects.denseclip.guidance import encode_with_contexts, pixel_text_scores
from clipapps.projects.denseclip.models import CLIPSegmentor
from clipapps.registry import MODELS


def total(model, batch):
    return model.parse_losses(model.loss(*batch))[0]


def step(model, batch, lr=0.1):
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.1)
    total(model, batch).backward()
    optimizer.step()
    optimizer.zero_grad()


@pytest.mark.parametrize("vit", [False, True])
def test_score_maps_are_cosines_and_stand_behind_the_features(build, batch, vit):
    model = build(vit).eval()
    features = model.encode(batch[0])
    level, plain = features.levels[model.score_concat_index], model.backbone(batch[0])
    assert features.score_map.shape == ((2, 3, 4, 4) if vit else (2, 3, 2, 2))
    assert torch.equal(level[:, -3:], features.score_map)
    own = (model.pyramid(plain.levels) if vit else plain.levels)[model.score_concat_index]
    assert torch.equal(level[:, :-3], own)
    expected = F.cosine_similarity(plain.dense[:, None], features.text_embeds[..., None, None], dim=2)
    torch.testing.assert_close(features.score_map, expected, atol=1e-6, rtol=1e-5)


def test_a_zero_embedding_scores_zero_and_not_nan():
    scores = pixel_text_scores(torch.zeros(1, 4, 2, 2), torch.zeros(1, 3, 4))
    assert torch.equal(scores, torch.zeros(1, 3, 2, 2))


def test_scores_stay_in_float32_under_autocast():
    dense, text = torch.randn(1, 64, 4, 4), torch.randn(1, 3, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = pixel_text_scores(dense.bfloat16(), text)
    assert scores.dtype == torch.float32


@pytest.mark.parametrize("vit", [False, True])
def test_losses_equal_hand_formulas_over_all_pixels(build, batch, vit):
    model = build(vit).eval()
    images, samples = batch
    labels = torch.cat([sample.gt_sem_seg.data for sample in samples])
    losses = model.loss(images, samples)
    features = model.encode(images)

    def cross_entropy(logits):
        logits = F.interpolate(logits, size=(64, 64), mode="bilinear", align_corners=False)
        return F.cross_entropy(logits, labels, ignore_index=255, reduction="sum") / labels.numel()

    torch.testing.assert_close(losses["decode.loss_ce"], cross_entropy(model.decode_head(model.neck(features.levels))))
    torch.testing.assert_close(losses["aux_identity.loss_ce"], 0.4 * cross_entropy(features.score_map / 0.07))
    assert set(losses) == {"decode.loss_ce", "decode.acc_seg", "aux_identity.loss_ce", "aux_identity.acc_seg"}


def test_the_released_codes_accuracy_counts_ignored_pixels(build, batch):
    valid = build().eval().loss(*batch)["decode.acc_seg"]
    everything = build(count_ignored_pixels=True).eval().loss(*batch)["decode.acc_seg"]
    torch.testing.assert_close(everything, 0.75 * valid)  # a quarter of the labels is ignored


def test_the_text_tower_does_not_move_and_the_rest_does(build, batch):
    model = build(gamma=1.0).train()
    text = {id(parameter) for parameter in model.backbone.text_parameters()}
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for _ in range(2):
        step(model, batch)
    for name, parameter in model.named_parameters():
        is_frozen = id(parameter) in text or name.endswith("logit_scale")
        assert torch.equal(parameter, before[name]) == is_frozen, name
    assert not any(model.backbone.model.get_parameter(n).requires_grad for n in ("text_projection", "logit_scale"))


def test_gradients_reach_the_contexts_through_the_frozen_tower(build, batch):
    model = build(prompt_mode="language", context_decoder=None).train()
    total(model, batch).backward()
    assert model.contexts.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in model.backbone.text_parameters())


def test_text_is_encoded_once_an_iteration_and_once_for_all_evaluation(build, batch, monkeypatch):
    model = build()
    calls = []
    original = model.backbone.encode_text_embeddings
    monkeypatch.setattr(model.backbone, "encode_text_embeddings",
                        lambda *args, **kwargs: calls.append(len(args[0])) or original(*args, **kwargs))
    model.train().loss(*batch)
    assert calls == [3]  # three names, whatever the batch
    model.eval()
    with torch.no_grad():
        for _ in range(3):
            model.encode(batch[0])
    assert calls == [3, 3]


@pytest.mark.parametrize("change", ["contexts", "names", "text", "checkpoint", "training"])
def test_remembered_text_is_forgotten_when_anything_changes(build, batch, change):
    model = build().eval()
    with torch.no_grad():
        before = model.shared_text_embeddings()
        assert model.shared_text_embeddings() is before
        if change == "contexts":
            model.contexts.mul_(0.5)
        elif change == "names":
            model.set_token_ids(model.token_ids.flip(0))
        elif change == "text":
            model.backbone.model.text_projection.mul_(0.5)
        elif change == "checkpoint":
            model.load_state_dict({**model.state_dict(), "contexts": 0.5 * model.contexts})
        else:
            model.contexts.data.mul_(0.5)  # invisible to version counters, as in weight averaging
            model.train()
            model.eval()
        after = model.shared_text_embeddings()
        assert (after - before).abs().max() > 1e-4
        torch.testing.assert_close(after, encode_with_contexts(model.backbone, model.token_ids, model.contexts))


def test_post_mode_adds_a_small_image_dependent_part(build, batch):
    model = build(gamma=1.0).eval()
    text = model.encode(batch[0]).text_embeds
    assert (text[0] - text[1]).abs().max() > 1e-5
    shared = model.shared_text_embeddings()
    model.gamma.data.zero_()
    torch.testing.assert_close(model.encode(batch[0]).text_embeds, shared.expand(2, -1, -1))


def test_language_mode_is_the_same_for_all_images(build, batch):
    model = build(prompt_mode="language", context_decoder=None).eval()
    text = model.encode(batch[0]).text_embeds
    assert torch.equal(text[0], text[1]) and not hasattr(model, "gamma") and not hasattr(model, "context_decoder")


def test_template_mode_uses_the_written_prompt_and_has_no_contexts(build, batch):
    model = build(prompt_mode="template", template="a drawing of a {}", context_decoder=None).eval()
    expected = model.backbone.encode_text([f"a drawing of a {name}" for name in model.class_names], normalize=True)
    torch.testing.assert_close(model.encode(batch[0]).text_embeds[0], expected)
    assert not hasattr(model, "contexts")


def test_pre_mode_makes_contexts_from_the_image(build, batch):
    model = build(prompt_mode="pre").eval()
    text = model.encode(batch[0]).text_embeds
    assert text.shape == (2, 3, 16) and (text[0] - text[1]).abs().max() > 1e-6
    total(model.train(), batch).backward()
    assert model.contexts.grad.abs().sum() > 0 and not hasattr(model, "gamma")


def test_longer_padding_changes_nothing_and_long_names_are_taken_whole(build):
    short, long = build(name_length=5).eval(), build(name_length=12).eval()
    assert short.token_ids.shape == (3, 5) and long.token_ids.shape == (3, 12)
    torch.testing.assert_close(short.shared_text_embeddings(), long.shared_text_embeddings(), atol=1e-6, rtol=0)
    names = ("sky", "a very old wooden garden fence", "tree")
    assert build(class_names=names).token_ids.shape[1] == 8


def test_score_maps_of_other_names_need_no_training(build, batch):
    model = build().eval()
    with torch.no_grad():
        own = model.encode(batch[0]).score_map
        torch.testing.assert_close(model.score_names(batch[0], model.class_names), own)
        assert model.score_names(batch[0], ["a", "b", "c", "d", "e"]).shape == (2, 5, 2, 2)
        torch.testing.assert_close(model.encode(batch[0]).score_map, own)


@pytest.mark.parametrize("size", [(64, 96), (70, 101), (33, 64)])
@pytest.mark.parametrize("vit", [False, True])
def test_any_size_runs(build, vit, size):
    model = build(vit).eval()
    with torch.no_grad():
        logits = model.encode_decode(torch.randn(1, 3, *size), [dict(img_shape=size)])
    assert logits.shape == (1, 3, *size)


def test_sliding_windows_average_overlaps_and_shift_the_last_one_back(build):
    from mmengine.config import ConfigDict

    model = build(test_cfg=ConfigDict(mode="slide", crop_size=(64, 64), stride=(40, 40))).eval()
    images = torch.randn(1, 3, 64, 80)  # two windows: columns 0..63 and 16..79
    with torch.no_grad():
        logits = model.slide_inference(images, [dict(img_shape=(64, 80))])
        windows = [model.encode_decode(images[..., x:x + 64], [dict(img_shape=torch.Size((64, 64)))]) for x in (0, 16)]
    torch.testing.assert_close(logits[..., :16], windows[0][..., :16])
    torch.testing.assert_close(logits[..., 64:], windows[1][..., 48:])
    torch.testing.assert_close(logits[..., 16:64], (windows[0][..., 16:] + windows[1][..., :48]) / 2)


def test_probabilities_sum_to_one_at_the_original_size(build, batch):
    images, samples = batch
    for sample in samples:
        sample.set_metainfo(dict(ori_shape=(100, 90)))
    with torch.no_grad():
        probabilities = build().eval().predict_probabilities(images, samples)
    assert probabilities[0].shape == (3, 100, 90)
    torch.testing.assert_close(probabilities[0].sum(dim=0), torch.ones(100, 90))


def test_the_baseline_has_neither_text_nor_attention_pool(segmentor_config, batch):
    config = segmentor_config()
    kept = {name: config[name] for name in ("class_names", "neck", "decode_head", "data_preprocessor", "test_cfg")}
    model = MODELS.build(dict(type=CLIPSegmentor, **kept, backbone=dict(config["backbone"], trainable="all",
                                                                        with_text=False, with_pool=False)))
    losses = model.loss(*batch)
    assert set(losses) == {"decode.loss_ce", "decode.acc_seg"}
    assert not any("text" in name or "attnpool" in name for name in model.state_dict())
    model.parse_losses(losses)[0].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_contexts_start_as_cut_normals_of_the_chosen_width(build):
    for std in (1.0, 0.02):
        contexts = build(num_contexts=16, context_std=std, name_length=5).contexts
        assert contexts.shape == (1, 16, 32) and contexts.abs().max() <= 2 * std and 0.8 * std < contexts.std() < std


@pytest.mark.parametrize("changes, words", [
    (dict(prompt_mode="pots"), "Did you mean 'post'"),
    (dict(score_concat_index=7), "score_concat_index is 7"),
    (dict(class_names="ade2k"), "Did you mean 'ade20k'"),
    (dict(class_names=("sky", " ", "tree")), "Class name number 1 is empty"),
    (dict(class_names=("sky", "a b c d e f g h i j k l m n o p q", "tree")), "has 19 tokens; the text tower reads 24"),
    (dict(context_decoder=None), "needs model.context_decoder"),
])
def test_wrong_arguments_are_refused_in_one_sentence(segmentor_config, changes, words):
    with pytest.raises(ConfigError, match=words):
        MODELS.build(segmentor_config(**changes))


def test_a_head_for_another_number_of_classes_is_refused(segmentor_config):
    config = segmentor_config()
    config["decode_head"] = dict(config["decode_head"], num_classes=5)
    with pytest.raises(ConfigError, match="decode_head.num_classes is 5"):
        MODELS.build(config)
    config = segmentor_config(neck=dict(segmentor_config()["neck"], in_channels=[16, 32, 64, 128]))
    with pytest.raises(ConfigError, match="neck.in_channels"):
        MODELS.build(config)
