"""Other names at test time: score maps of any names, the decoder for known ones, figures of held-out classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope

from clipapps.engine.config import load_config
from clipapps.errors import ConfigError
from clipapps.projects.denseclip.datasets import ToyWorldSubset
from clipapps.projects.denseclip.hooks import SameClassesHook
from clipapps.projects.denseclip.metrics import SegmentationIoU
from clipapps.projects.denseclip.open_vocabulary import combined_log_probabilities
from clipapps.registry import MODELS
from clipapps.toyworld import ToyWorldSegmentation

OTHER = ("tree", "lamp", "sky", "a very old wooden fence")  # the model knows sky, fire hydrant, tree


def predict(model, images):
    with torch.no_grad():
        return model.encode_decode(images, [dict(img_shape=images.shape[2:])])


@pytest.mark.parametrize("mode", ["post", "pre", "language", "template"])
def test_unseen_names_take_the_path_of_the_trained_ones(build, batch, mode):
    model = build(prompt_mode=mode, **({} if mode in ("post", "pre") else dict(context_decoder=None))).eval()
    images = batch[0]
    with torch.no_grad():
        own = model.encode(images).score_map / model.tau
    model.use_vocabulary(["tree", "sky", "fire hydrant"])
    expected = F.interpolate(own[:, [2, 0, 1]], size=(64, 64), mode="bilinear")
    torch.testing.assert_close(predict(model, images), expected, atol=1e-4, rtol=1e-4)
    model.use_vocabulary(OTHER)
    assert predict(model, images).shape == (2, 4, 64, 64)


def test_no_vocabulary_and_the_trained_one_are_the_decoder(build, batch):
    model = build().eval()
    decoder = predict(model, batch[0])
    for names in (model.class_names, None):
        model.use_vocabulary(names)
        assert torch.equal(predict(model, batch[0]), decoder)


def test_training_keeps_the_trained_names(build, batch):
    plain, other = build().eval(), build(vocabulary=OTHER).eval()
    losses, expected = other.loss(*batch), plain.loss(*batch)
    assert {name: value.item() for name, value in losses.items()} == pytest.approx(
        {name: value.item() for name, value in expected.items()})


def test_known_names_share_what_new_names_leave():
    generator = torch.Generator().manual_seed(0)
    vocabulary, trained = ("a", "new", "b", "newer"), ("b", "c", "a")
    scores, decoder = torch.randn(2, 4, 3, 5, generator=generator), torch.randn(2, 3, 3, 5, generator=generator)
    probabilities = combined_log_probabilities(scores, vocabulary, decoder, trained).exp()
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(2, 3, 5))
    by_scores = scores.softmax(dim=1)
    torch.testing.assert_close(probabilities[:, [1, 3]], by_scores[:, [1, 3]])  # new names: the score maps alone
    ratio = probabilities[:, 0] / probabilities[:, 2]
    torch.testing.assert_close(ratio, (decoder[:, 2] - decoder[:, 0]).exp())  # known ones: the decoder's proportions
    nothing_known = combined_log_probabilities(scores, ("w", "x", "y", "z"), decoder, trained)
    torch.testing.assert_close(nothing_known, scores.log_softmax(dim=1))


def test_the_model_combines_both_sources(build, batch):
    model = build(vocabulary=OTHER, vocabulary_source="scores+decoder").eval()
    combined = predict(model, batch[0])
    model.use_vocabulary(OTHER)
    scores = predict(model, batch[0])
    model.use_vocabulary(None)
    expected = combined_log_probabilities(scores, OTHER, predict(model, batch[0]), model.class_names)
    torch.testing.assert_close(combined, expected, atol=1e-4, rtol=1e-4)


def test_both_lists_are_encoded_once_for_all_images(build, batch, monkeypatch):
    model = build(vocabulary=OTHER, vocabulary_source="scores+decoder").eval()
    calls, original = [], model.backbone.encode_text_embeddings
    monkeypatch.setattr(model.backbone, "encode_text_embeddings",
                        lambda *args, **kwargs: calls.append(len(args[0])) or original(*args, **kwargs))
    for _ in range(3):
        predict(model, batch[0])
    assert sorted(calls) == [3, 4]


def test_sliding_windows_take_any_number_of_names(build):
    from mmengine.config import ConfigDict

    model = build(test_cfg=ConfigDict(mode="slide", crop_size=(64, 64), stride=(40, 40)), vocabulary=OTHER).eval()
    with torch.no_grad():
        logits = model.inference(torch.randn(1, 3, 64, 100), [dict(ori_shape=(64, 100), img_shape=(64, 100))])
    assert logits.shape == (1, 4, 64, 100)


def test_wrong_vocabularies_are_refused(build):
    with pytest.raises(ConfigError, match="Did you mean 'scores'"):
        build(vocabulary=OTHER, vocabulary_source="score")
    with pytest.raises(ConfigError, match="number 1 is empty"):
        build(vocabulary=("sky", " "))


# ---- held-out classes -----------------------------------------------------------------------------------------


def test_labels_of_held_out_classes_are_ignored_and_scenes_stay():
    classes = ["tree", "background", "cup"]
    subset, whole = (cls(num_scenes=12, size=64, **arguments) for cls, arguments in (
        (ToyWorldSubset, dict(classes=classes)), (ToyWorldSegmentation, {})))
    names = whole.metainfo["classes"]
    kept = 0
    for index in range(12):
        new, old = subset[index], whole[index]
        assert np.array_equal(new["img"], old["img"])
        for label, name in enumerate(names):
            values = set(np.unique(new["gt_seg_map"][old["gt_seg_map"] == label]))
            assert values <= {classes.index(name) if name in classes else 255}
        kept += (new["gt_seg_map"] != 255).sum()
    assert 0 < kept < 12 * 64 * 64 and tuple(subset.metainfo["classes"]) == tuple(classes)
    with pytest.raises(ConfigError, match="Did you mean 'tree'"):
        ToyWorldSubset(["treee"], num_scenes=1)


def test_figures_of_seen_and_unseen_by_hand():
    metric = SegmentationIoU(background=0, held_out=["dog"], per_class=False)
    metric.dataset_meta = {"classes": ["background", "cat", "dog", "bird"]}
    area = np.array  # intersection, union, predicted, labeled
    results = [(area([5, 2, 1, 3]), area([8, 4, 4, 4]), area([6, 3, 2, 3]), area([7, 3, 3, 4]))]
    figures = metric.compute_metrics(results)
    seen, unseen = (2 / 4 + 3 / 4) / 2, 1 / 4
    assert figures["mIoU_seen"] == pytest.approx(seen) and figures["mIoU_unseen"] == pytest.approx(unseen)
    assert figures["hIoU"] == pytest.approx(2 * seen * unseen / (seen + unseen))
    metric.held_out = ("dogs",)
    with pytest.raises(ConfigError, match="Did you mean 'dog'"):
        metric.compute_metrics(results)


def test_the_config_trains_on_eight_names_and_is_tested_on_eleven():
    init_default_scope("clipapps")
    cfg = load_config("denseclip/denseclip_fpn_tiny_toyworld_heldout", ["model.backbone.weights=None"])
    closed = load_config("denseclip/denseclip_fpn_tiny_toyworld")
    model = MODELS.build(cfg.model)
    held_out = set(cfg.val_evaluator.held_out)
    assert len(held_out) == 3 and held_out | set(model.class_names) == set(model.vocabulary)
    assert not held_out & set(cfg.train_dataloader.dataset.classes)
    assert cfg.val_dataloader == closed.val_dataloader and cfg.optim_wrapper == closed.optim_wrapper
    assert cfg.train_cfg == closed.train_cfg and cfg.param_scheduler == closed.param_scheduler


@pytest.mark.parametrize("place, names, words", [
    ("val_dataloader", ("a", "b", "c"), None), ("train_dataloader", ("a", "b"), None),
    ("train_dataloader", ("a", "b", "c"), "model.class_names has 2 classes"),
    ("test_dataloader", ("a", "b"), "model.vocabulary has 3 classes"),
])
def test_data_and_names_are_compared_where_they_are_used(place, names, words):
    class Loader:
        class dataset:  # noqa: N801
            metainfo = dict(classes=names)

    class Run:
        model = torch.nn.Module()

    Run.model.class_names, Run.model.vocabulary = ("a", "b"), ("a", "b", "c")
    hook = SameClassesHook()
    if words is None:
        hook._compare(Run, place, Loader)
    else:
        with pytest.raises(ConfigError, match=words):
            hook._compare(Run, place, Loader)
