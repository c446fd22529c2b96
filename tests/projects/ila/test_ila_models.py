"""The whole classifier: what it equals at the start, what trains, its losses, views, text, and other lengths."""

from __future__ import annotations

import pytest
import torch

from clipapps.clip import CLIPBackbone
from clipapps.errors import UserError
from clipapps.projects.ila.models import ILAClassifier
from clipapps.registry import MODELS

CLIPS = torch.randn(2, 3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_a_fresh_model_sees_each_frame_as_clip_does(small_config):
    model = MODELS.build(small_config()).eval()
    features = model.encode(CLIPS)
    plain = model.backbone(CLIPS.flatten(0, 1), dense=None)
    torch.testing.assert_close(features.frames.flatten(0, 1), plain.pooled)
    assert len(features.aligned) == 2 and features.distances == []


@pytest.mark.parametrize(("head", "trained"), [
    (dict(class_names=("a", "b"), prompts=dict(layers=1)), {"inserts", "mit"}),
    (dict(class_names=("a", "b"), prompts=dict(layers=1), train_prompts=True), {"inserts", "mit", "head"}),
    (dict(num_classes=2), {"inserts", "mit", "head"}),
])
def test_clip_is_frozen_and_prompts_train_by_option(small_model, head, trained):
    model = small_model(head=head).train()
    losses = model(CLIPS, mode="loss", label=torch.tensor([0, 1]))
    model.parse_losses(losses)[0].backward()
    with_gradient = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert {name.split(".")[0] for name in with_gradient} == trained
    assert with_gradient == {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_the_distances_of_all_blocks_are_summed_with_their_weight(small_model):
    model = small_model(cosine_weight=0.5).eval()
    losses = model(CLIPS, mode="loss", label=torch.tensor([0, 1]))
    torch.testing.assert_close(losses["loss_alignment"], 0.5 * (losses["distance_0"] + losses["distance_1"]))
    assert "loss_alignment" not in small_model(cosine_weight=0.0)(CLIPS, mode="loss", label=torch.tensor([0, 1]))


def test_soft_labels_and_smoothing_agree(small_model):
    model = small_model(label_smoothing=0.1).eval()
    hard = model(CLIPS, mode="loss", label=torch.tensor([0, 2]))["loss_classes"]
    soft = torch.full((2, 3), 0.1 / 3)
    soft[0, 0] += 0.9
    soft[1, 2] += 0.9
    torch.testing.assert_close(model(CLIPS, mode="loss", label=soft)["loss_classes"], hard)


def test_training_without_labels_is_refused(small_model):
    with pytest.raises(UserError, match="label"):
        small_model()(CLIPS, mode="loss")


def test_probabilities_are_averaged_over_views(small_model):
    model = small_model().eval()
    views = torch.stack([CLIPS, CLIPS.flip(1)], dim=1)  # (B, V, T, 3, H, W)
    found = model(views, mode="predict", label=torch.tensor([2, 1]), sample_idx=torch.tensor([7, 8]))
    expected = (model(CLIPS).softmax(-1) + model(CLIPS.flip(1)).softmax(-1)) / 2
    torch.testing.assert_close(torch.stack([row["scores"] for row in found]), expected)
    assert [(row["num_views"], row["sample_idx"], row["label"]) for row in found] == [(2, 7, 2), (2, 8, 1)]


def test_the_order_of_frames_matters_with_alignment_and_not_with_their_mean(small_model):
    order = small_model(integration=None).eval()
    mean = small_model(integration=None, alignment=None).eval()
    backwards = CLIPS.flip(1)
    assert (order(CLIPS) - order(backwards)).abs().max() > 1e-3
    torch.testing.assert_close(mean(CLIPS), mean(backwards), atol=1e-4, rtol=1e-4)


def test_any_names_can_be_asked_for_and_the_text_is_computed_once(small_model, monkeypatch):
    model = small_model().eval()
    calls = []
    original = model.backbone.encode_text
    monkeypatch.setattr(model.backbone, "encode_text", lambda *args, **kwargs: calls.append(1) or original(*args,
                                                                                                          **kwargs))
    with torch.no_grad():
        first = model(CLIPS)
        assert torch.equal(model(CLIPS), first) and len(calls) == 1
        model.head.use_classes(["moves right", "a dance", "a fall", "moves left"])
        second = model(CLIPS)
        assert len(calls) == 2 and second.shape == (2, 4)
        torch.testing.assert_close(second[:, [3, 0]], first[:, :2])
        model.backbone.model.ln_final.weight.mul_(1.5)
        model(CLIPS)
    assert len(calls) == 3


def test_modes_are_left_alone_by_the_text(small_model):
    model = small_model().eval()
    model.head.use_classes(["x"])
    model(CLIPS)
    assert not any(part.training for part in model.modules())


def test_batch_statistics_in_test_change_scores_and_no_buffer(small_model):
    plain, other = small_model().eval(), small_model(bn_batch_stats_in_test=True).eval()
    before = {name: value.clone() for name, value in other.state_dict().items()}
    assert (plain(CLIPS) - other(CLIPS)).abs().max() > 1e-4
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())
    assert not any(part.training for part in other.modules())


def test_other_numbers_of_frames_and_sizes_run(small_model):
    model = small_model().eval()
    for shape in ((1, 2, 3, 32, 32), (1, 5, 3, 32, 48)):
        assert model(torch.randn(shape)).shape == (1, 3)


def test_checkpoints_of_another_number_of_frames_load(small_model):
    model, longer = small_model(), small_model(num_frames=5)
    longer.load_state_dict(model.state_dict())
    ours, theirs = longer.mit.positional_embedding, model.mit.positional_embedding
    torch.testing.assert_close(ours[:, 2], theirs[:, 1])  # the middle stays in the middle


def test_recomputed_blocks_give_the_same_gradients(small_model):
    results = []
    for checkpointed in (False, True):
        model = small_model(backbone=dict(grad_checkpoint=checkpointed)).train()
        loss = model.parse_losses(model(CLIPS, mode="loss", label=torch.tensor([0, 1])))[0]
        loss.backward()
        buffers = {name: value for name, value in model.named_buffers() if "running" in name}
        results.append((loss, {n: p.grad for n, p in model.named_parameters() if p.requires_grad}, buffers))
    (loss, gradients, buffers), (again, others, same) = results
    torch.testing.assert_close(again, loss)
    for name, gradient in gradients.items():
        torch.testing.assert_close(others[name], gradient, msg=name)
    assert all(torch.equal(same[name], value) for name, value in buffers.items())


@pytest.mark.parametrize("arch", ["tiny-rn", dict(embed_dim=16, text_cfg=dict(
    context_length=8, vocab_size=64, width=16, heads=1, layers=1), vision_cfg=dict(
    layers=1, width=32, head_width=16, patch_size=8, image_size=32, pool_type="avg"))])
def test_towers_without_a_pooled_class_token_are_refused(arch):
    with pytest.raises(UserError, match="class token"):
        ILAClassifier(backbone=dict(type=CLIPBackbone, arch=arch), num_frames=2, head=dict(num_classes=2))


@pytest.mark.parametrize("head", [{}, dict(class_names=["a"], num_classes=1)])
def test_a_head_needs_names_or_a_number(small_config, head):
    with pytest.raises(UserError, match="either class_names"):
        MODELS.build(small_config(head=head))


def test_the_built_in_tiny_vit_is_a_base():
    model = ILAClassifier(backbone=dict(type=CLIPBackbone, arch="tiny-vit", trainable="none"), num_frames=2,
                          alignment=dict(channels=16), integration={}, head=dict(num_classes=3)).eval()
    assert model(torch.randn(1, 2, 3, 64, 64)).shape == (1, 3)
