"""Whole detectors: losses in double precision, gradients, empty images, image borders, batches."""

from __future__ import annotations

import math

import pytest
import torch
from torchvision.ops import box_iou

from clipapps.errors import ConfigError
from clipapps.projects.denseclip.detection.samples import scale_of

KINDS = ("retinanet", "mask_rcnn")


def total(model, batch):
    return model.parse_losses(model.loss(*batch))[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("guided", [False, True])
def test_gradients_reach_everything_but_the_text_tower(build, batch, kind, guided):
    model = build(kind, guided).train()
    total(model, batch).backward()
    without = {name for name, value in model.named_parameters() if value.grad is None}
    text = {name for name in dict(model.named_parameters())
            if name.startswith("backbone.model.") and ".visual." not in name}
    pool = set() if guided else {name for name in dict(model.named_parameters()) if ".attnpool." in name}
    assert without == text | pool
    if guided:
        assert model.gamma.grad.abs().sum() > 0 and model.contexts.grad.abs().sum() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_batches_without_any_object_have_finite_losses_and_gradients(build, batch, kind):
    model = build(kind).train()
    images, (_, empty) = batch
    losses = model.loss(images[1:], [empty])
    value, _ = model.parse_losses(losses)
    value.backward()
    assert value.isfinite() and all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    assert losses["loss_aux_seg"].item() == 0
    boxes = losses["loss_bbox"]
    assert sum(boxes).item() == 0 if isinstance(boxes, list) else boxes.item() == 0
    if kind == "mask_rcnn":
        assert losses["loss_mask"].item() == 0 and sum(losses["loss_rpn_bbox"]).item() == 0


def test_focal_and_box_loss_equal_the_formulas_in_double_precision(build, batch):
    model = build("retinanet").eval()
    images, samples = batch
    with torch.no_grad():
        losses = model.loss(images, samples)
        outputs = model.bbox_head(model.extract_feat(images))
    anchors = torch.cat(model.bbox_head.anchors.grid(outputs.sizes)).double()
    of_classes = of_boxes = 0.0
    positives = 0
    for image, sample in enumerate(samples):
        inside = torch.cat(model.bbox_head.anchors.inside(outputs.sizes, sample.pad_shape))
        logits, offsets = (torch.cat([level[image] for level in part]).double()
                           for part in (outputs.logits, outputs.offsets))
        boxes, labels = sample.gt_instances.bboxes.double(), sample.gt_instances.labels
        overlap = box_iou(anchors, boxes) if len(boxes) else anchors.new_zeros(len(anchors), 1)
        best, which = overlap.max(dim=1)
        owner = torch.where(best >= 0.5, which, torch.where(best < 0.4, -1, -2))
        for index in range(len(boxes)):  # every object has its best anchors
            owner[overlap[:, index] >= overlap[inside, index].max() - 1e-9] = index
        for anchor in inside.nonzero().flatten().tolist():
            own = owner[anchor].item()
            for index in range(3) if own > -2 else ():
                p = 1 / (1 + math.exp(-logits[anchor, index]))
                hit = own >= 0 and labels[own] == index
                of_classes -= 0.25 * (1 - p) ** 2 * math.log(p) if hit else 0.75 * p ** 2 * math.log(1 - p)
            if own >= 0:
                a, b = anchors[anchor], boxes[own]
                wanted = [((b[i] + b[i + 2]) - (a[i] + a[i + 2])) / 2 / (a[i + 2] - a[i]) for i in (0, 1)]
                wanted += [math.log((b[i + 2] - b[i]) / (a[i + 2] - a[i])) for i in (0, 1)]
                of_boxes += sum(abs(offsets[anchor, i].item() - float(wanted[i])) for i in range(4))
        positives += max(int(((owner >= 0) & inside).sum()), 1)
    assert sum(losses["loss_cls"]).item() == pytest.approx(of_classes / positives, rel=1e-4)
    assert sum(losses["loss_bbox"]).item() == pytest.approx(of_boxes / positives, rel=1e-4)


def test_losses_of_sampled_regions_equal_the_formulas_in_double_precision(build, batch):
    model = build("mask_rcnn").eval()
    images, samples = batch
    head, truth = model.roi_head, samples[0].gt_instances
    with torch.no_grad():
        maps = model.extract_feat(images[:1])
        proposals = model.rpn_head.propose(maps, samples[:1])
        torch.manual_seed(3)
        losses = head.loss(maps, proposals, samples[:1])
        torch.manual_seed(3)
        drawn = head.draw(proposals[0].bboxes, truth.bboxes)
        regions = torch.cat([torch.zeros(len(drawn.boxes), 1), drawn.boxes], dim=1)
        logits, offsets = head.bbox_head(head.box_align(maps, regions))
    assert len(drawn.boxes) <= 16 and len(drawn.objects) <= 4
    labels = [truth.labels[index].item() for index in drawn.objects.tolist()]
    labels += [3] * (len(drawn.boxes) - len(labels))
    surprise = -sum(torch.log_softmax(row.double(), 0)[label].item() for row, label in zip(logits, labels, strict=True))
    assert losses["loss_cls"].item() == pytest.approx(surprise / len(labels), rel=1e-5)
    distance = 0.0
    for row, index in enumerate(drawn.objects.tolist()):
        wanted = head.coder.encode(drawn.boxes[row:row + 1].double(), truth.bboxes[index:index + 1].double())[0]
        distance += (offsets[row].view(3, 4)[labels[row]].double() - wanted).abs().sum().item()
    assert losses["loss_bbox"].item() == pytest.approx(distance / len(labels), rel=1e-4)


def test_the_target_of_a_region_is_its_objects_mask_cut_out():
    from clipapps.projects.denseclip.detection.roi_head import mask_targets

    masks = torch.zeros(2, 40, 60, dtype=torch.uint8)
    masks[0, :, :30] = 1
    masks[1, 10:30, 20:40] = 1
    boxes = torch.tensor([[10.0, 0, 50, 40], [20, 10, 40, 30]])
    left, full = mask_targets(masks, torch.tensor([0, 1]), boxes, 28)
    assert left[:, :14].all() and not left[:, 14:].any()
    assert full.all()


def test_regions_come_from_the_level_of_their_size():
    from clipapps.projects.denseclip.detection.region_heads import RegionAlign

    align = RegionAlign(7)
    sides = torch.tensor([10.0, 111, 112, 223, 224, 447, 448, 3000])
    boxes = torch.stack([torch.zeros(8), torch.zeros(8), sides, sides], dim=1)
    assert align.levels_of(boxes).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    constant = [torch.full((1, 1, 200 // 2 ** level, 200 // 2 ** level), float(level)) for level in range(4)]
    regions = torch.tensor([[0.0, 8, 8, 40, 40], [0, 8, 8, 140, 140]])
    assert align(constant, regions).mean(dim=(1, 2, 3)).tolist() == [0, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_detections_stay_in_the_original_picture(build, batch, kind):
    model = build(kind).eval()
    if kind == "retinanet":
        torch.nn.init.zeros_(model.bbox_head.retina_cls.bias)  # the untrained prior finds nothing
    with torch.no_grad():
        for sample in model.predict(*batch):
            found, (height, width) = sample.pred_instances, sample.ori_shape
            assert len(found) > 0 and len(found) <= 100
            assert found.bboxes.min() >= 0 and found.bboxes[:, 2].max() <= width and found.bboxes[:, 3].max() <= height
            assert (found.scores.diff() <= 0).all() and found.scores.min() > 0.05 and found.labels.max() < 3
            if kind == "mask_rcnn":
                assert found.masks.shape == (len(found), height, width) and found.masks.dtype == torch.bool


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_is_found_alike_alone_and_in_a_batch(build, batch, kind):
    """The padding to a larger neighbor changes nothing but rounding where nothing crosses the image's own border."""
    model = build(kind, guided=False).eval()
    images, samples = batch
    together = model.predict(images, samples)[0].pred_instances
    alone = model.predict(images[:1], samples[:1])[0].pred_instances
    torch.testing.assert_close(alone.scores, together.scores, atol=1e-5, rtol=0)


def test_no_proposal_gives_no_detection(build, batch):
    from mmengine.structures import InstanceData

    model = build("mask_rcnn").eval()
    images, samples = batch
    nothing = [InstanceData(bboxes=torch.zeros(0, 4), scores=torch.zeros(0)) for _ in samples]
    results = model.roi_head.predict(model.extract_feat(images), nothing, samples)
    for found, sample in zip(results, samples, strict=True):
        assert len(found) == 0 and found.masks.shape == (0, *sample.ori_shape)


def test_scores_over_the_temperature_join_the_last_level(build, batch):
    model = build("retinanet").eval()
    features = model.encode(batch[0])
    assert torch.equal(features.levels[3][:, -3:], features.score_map / 0.07)
    plain = build("retinanet", concat_over_tau=False).eval()
    assert torch.equal(plain.encode(batch[0]).levels[3][:, -3:], features.score_map)


def test_the_prior_and_the_released_initialization(build):
    head = build("retinanet").bbox_head
    assert head.retina_cls.bias[0].item() == pytest.approx(-math.log(99)) and head.retina_reg.bias.abs().max() == 0
    assert head.cls_convs[0].conv.weight.std().item() == pytest.approx(0.01, rel=0.1)
    config = build("retinanet").bbox_head
    released = type(config)(3, 8, dict(type="DenseCLIPAnchors", strides=[8], scales=[1]),
                            dict(type="DenseCLIPMatcher", pos_iou=0.5, neg_iou=0.4), feat_channels=8, prior=None)
    assert released.retina_cls.bias.abs().max() < 0.2


def test_scale_factors_of_every_form(batch):
    sample = batch[1][0]
    like = torch.zeros(1, 4)
    assert scale_of(sample, like).tolist() == [0.5] * 4
    sample.set_metainfo(dict(scale_factor=2.0))
    assert scale_of(sample, like).tolist() == [2.0] * 4
    assert scale_of(batch[1][1], like).tolist() == [1.0] * 4


def test_a_detector_without_classes_is_refused(build):
    with pytest.raises(ConfigError, match="at least one class"):
        build("retinanet", guided=False, class_names=())


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_keeps_losses_and_boxes_in_float32(build, batch, kind):
    model = build(kind).eval()
    images, samples = batch
    torch.manual_seed(0)
    exact = model.parse_losses(model.loss(images, samples))[0].item()
    torch.manual_seed(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = model.loss(images, samples)
        found = model.predict(images, samples)[0].pred_instances
    flat = [value for part in losses.values() for value in (part if isinstance(part, list) else [part])]
    assert all(value.dtype == torch.float32 and value.isfinite() for value in flat)
    assert found.bboxes.dtype == found.scores.dtype == torch.float32
    assert model.parse_losses(losses)[0].item() == pytest.approx(exact, rel=0.1)
