"""Runners of the cases of DenseCLIP's detectors."""

from __future__ import annotations

import re
from typing import Any

import torch
from denseclip import arch_config, decoder_config, resnet_config, text_config, without_type
from mmengine.structures import InstanceData
from mmseg.models.necks import FPN
from torch.func import functional_call

from clipapps.clip import CLIPBackbone
from clipapps.projects.denseclip import convert
from clipapps.projects.denseclip.detection.anchors import AnchorGenerator
from clipapps.projects.denseclip.detection.box_guidance import BoxScoreLoss
from clipapps.projects.denseclip.detection.matching import MaxIoUAssigner, RandomSampler
from clipapps.projects.denseclip.detection.models import DenseCLIPMaskRCNN, DenseCLIPRetinaNet
from clipapps.projects.denseclip.detection.region_heads import BoxHead, MaskHead
from clipapps.projects.denseclip.detection.retina_head import RetinaHead
from clipapps.projects.denseclip.detection.roi_head import RoIHead
from clipapps.projects.denseclip.detection.rpn_head import RPNHead
from clipapps.projects.denseclip.detection.samples import DetectionSample
from clipapps.projects.denseclip.detection.suppression import BoxSelection, ProposalSelection
from clipapps.registry import MODELS

TOLERANCES = {
    "det_retinanet": [  # "activations 2e-4 abs; losses 1e-4 rel; gradients 1e-3 of max abs"
        ("grad.*", "relative", 1e-3), ("loss.*", "relative", 1e-4), ("*", "abs", 2e-4)],
    "det_maskrcnn": [  # "activations 2e-4 abs; losses 1e-3 rel"
        ("grad.*", "relative", 1e-3), ("loss.*", "relative", 1e-3), ("*", "abs", 2e-4)],
}
#: "detections: match boxes 1e-2 px, scores 1e-4, same labels and order unless scores tie"; proposals likewise
DETECTIONS = dict(box=1e-2, score=1e-4)
#: "detections ... in ORIGINAL image coordinates after rescale; img_shape is (H, W-5), scale_factor 0.5"; the case of
#: Mask R-CNN was made alike and does not say so
BORDER, SCALE = 5, 0.5


def retinanet(case: Any) -> None:
    """Activations, targets, losses, gradients and detections of a whole RetinaNet."""
    model = build_retinanet(case.options)
    maps = run_shared_parts(case, model)
    with torch.no_grad():
        of_classes, of_boxes = model.bbox_head.forward_maps(maps)
        anchors = model.bbox_head.anchors.grid([level.shape[2:] for level in maps])
        for level, (classes, boxes, references) in enumerate(zip(of_classes, of_boxes, anchors, strict=True)):
            case.compare(f"cls_score{level}", classes)
            case.compare(f"bbox_pred{level}", boxes)
            case.compare(f"anchors{level}", references)
    compare_detections(case, model)


def mask_rcnn(case: Any) -> None:
    """Activations, proposals, region heads, losses and detections of a whole Mask R-CNN."""
    model = build_mask_rcnn(case.options)
    maps = run_shared_parts(case, model)
    with torch.no_grad():
        of_objects, of_boxes = model.rpn_head.forward_maps(maps)
        anchors = model.rpn_head.anchors.grid([level.shape[2:] for level in maps])
        for level, (objects, boxes, references) in enumerate(zip(of_objects, of_boxes, anchors, strict=True)):
            case.compare(f"rpn_cls{level}", objects)
            case.compare(f"rpn_reg{level}", boxes)
            case.compare(f"rpn_anchors{level}", references)
        for image, found in enumerate(model.rpn_head.propose(maps, samples(case))):
            proposals = torch.cat([found.bboxes, found.scores[:, None]], dim=1)
            case.compare_detections(f"proposals{image}", proposals, **DETECTIONS)
        compare_regions(case, model.roi_head, maps)
    compare_detections(case, model)


def compare_regions(case: Any, head: RoIHead, maps: list[torch.Tensor]) -> None:
    """The heads on the case's own regions, which are proposals that were compared already."""
    if not case.has("rois"):
        return
    rois = case.input("rois")
    features = head.box_align(maps, rois)
    logits, offsets = head.bbox_head(features)
    case.compare("roi_feats_bbox", features)
    case.compare("roi_cls_score", logits)
    case.compare("roi_bbox_pred", offsets)
    case.compare("roi_mask_pred", head.mask_head(head.mask_align(maps, rois)))


# ---- parts that both detectors have ---------------------------------------------------------------------------


def run_shared_parts(case: Any, model: Any) -> list[torch.Tensor]:
    """Load, compare losses, features, score maps and their targets; returns the neck's maps."""
    model.set_token_ids(case.input("token_ids"))
    leaves = {name.removeprefix("grad.") for name in case.names("grad.")}
    official = {name: value.requires_grad_() if name in leaves else value for name, value in case.state.items()}
    ours = convert.fill_unused(convert.convert_model(official), model)
    convert.check_complete(ours, model)
    images, truth = case.input("x"), samples(case)
    if case.names("loss."):
        compare_losses(case, model, official, ours, truth)
    model.load_state_dict(ours)
    with torch.no_grad():
        features = model.encode(images)
        case.compare("global_feat", features.pooled)
        case.compare("dense_feat", features.dense)
        case.compare("text_features", features.text_embeds)
        case.compare("score_map_stride32_over_tau", features.score_map / model.tau)
        scores = model.box_score_loss.upsample(features.score_map / model.tau, images.shape[2:])
        case.compare("score_map_stride4", scores)
        if truth[0].get("gt_instances") is not None:
            compare_score_targets(case, model, truth, scores.shape[1:])
        maps = model.neck(features.levels)
        for level, values in enumerate(maps):
            case.compare(f"neck{level}", values)
    return maps


def compare_losses(case: Any, model: Any, official: dict, ours: dict, truth: list[DetectionSample]) -> None:
    """Gradients reach the official tensors through the conversion, so that it is tested, too."""
    losses = functional_call(model, ours, (case.input("x"), truth), dict(mode="loss"))
    total, _ = model.parse_losses(losses)
    for name, value in losses.items():
        actual = torch.stack(value) if isinstance(value, list) else value.reshape(1)
        case.compare(f"loss.{name}", actual)
        case.compare(f"loss.{name.replace('aux_seg', 'seg')}", actual)  # as RetinaNet calls it
    case.compare("loss.total", total.reshape(1))
    names = [name.removeprefix("grad.") for name in case.names("grad.")]
    if names:
        for name, gradient in zip(names, torch.autograd.grad(total, [official[name] for name in names]), strict=True):
            case.compare(f"grad.{name}", gradient)


def compare_score_targets(case: Any, model: Any, truth: list[DetectionSample], shape: torch.Size) -> None:
    targets = [model.box_score_loss.targets(sample.gt_instances.bboxes, sample.gt_instances.labels, shape[0],
                                            tuple(shape[1:])) for sample in truth]
    case.compare("seg_target", torch.stack([target for target, _ in targets]))
    case.compare("seg_mask_1ch", torch.stack([inside for _, inside in targets])[:, None])


def compare_detections(case: Any, model: Any) -> None:
    with torch.no_grad():
        found = [sample.pred_instances for sample in model.predict(case.input("x"), samples(case))]
    for image, result in enumerate(found):
        boxes = torch.cat([result.bboxes, result.scores[:, None]], dim=1)
        case.compare_detections(f"det_bboxes{image}", boxes, (f"det_labels{image}", result.labels), **DETECTIONS)


def samples(case: Any) -> list[DetectionSample]:
    height, width = case.input("x").shape[2:]
    said = re.search(r"W ?- ?(\d+).*scale_factor ([\d.]*\d)", case.spec.get("what", ""))
    border, scale = (int(said[1]), float(said[2])) if said else (BORDER, SCALE)
    found = []
    for image in range(len(case.input("x"))):
        sample = DetectionSample(metainfo=dict(img_shape=(height, width - border), pad_shape=(height, width),
                                               ori_shape=(int(height / scale), int((width - border) / scale)),
                                               scale_factor=(scale, scale)))
        if case.has(f"gt_bboxes{image}"):
            sample.gt_instances = InstanceData(bboxes=case.input(f"gt_bboxes{image}"),
                                               labels=case.input(f"gt_labels{image}"))
            if case.has(f"gt_masks{image}"):
                sample.gt_instances.masks = case.input(f"gt_masks{image}")
        found.append(sample)
    return found


# ---- configs --------------------------------------------------------------------------------------------------


def build_retinanet(options: dict[str, Any]) -> DenseCLIPRetinaNet:
    head, test = options["bbox_head"], options["test_cfg"]
    focal = head["loss_cls"]
    return MODELS.build(dict(
        type=DenseCLIPRetinaNet, **shared_config(options),
        bbox_head=dict(
            type=RetinaHead, feat_channels=head["feat_channels"], stacked_convs=head["stacked_convs"],
            anchors=anchor_config(head), assigner=assigner_config(options["train_cfg"]),
            gamma=focal["gamma"], alpha=focal["alpha"], prior=None, selection=selection_config(test)))).eval()


def build_mask_rcnn(options: dict[str, Any]) -> DenseCLIPMaskRCNN:
    proposals, regions = options["rpn_head"], options["roi_head"]
    train, test = options["train_cfg"], options["test_cfg"]
    boxes, masks = regions["bbox_head"], regions["mask_head"]
    return MODELS.build(dict(
        type=DenseCLIPMaskRCNN, **shared_config(options),
        rpn_head=dict(
            type=RPNHead, feat_channels=proposals["feat_channels"], anchors=anchor_config(proposals),
            assigner=assigner_config(train["rpn"]), sampler=sampler_config(train["rpn"]),
            train_selection=proposal_config(train["rpn_proposal"]), test_selection=proposal_config(test["rpn"])),
        roi_head=dict(
            type=RoIHead, assigner=assigner_config(train["rcnn"]), sampler=sampler_config(train["rcnn"]),
            selection=selection_config(test["rcnn"]), mask_threshold=test["rcnn"]["mask_thr_binary"],
            strides=regions["bbox_roi_extractor"]["featmap_strides"],
            box_size=regions["bbox_roi_extractor"]["roi_layer"]["output_size"],
            mask_size=regions["mask_roi_extractor"]["roi_layer"]["output_size"],
            bbox_head=dict(type=BoxHead, fc_channels=boxes["fc_out_channels"]),
            mask_head=dict(type=MaskHead, num_convs=masks["num_convs"],
                           conv_channels=masks["conv_out_channels"])))).eval()


def shared_config(options: dict[str, Any]) -> dict[str, Any]:
    backbone, text = options["backbone"], options["text_encoder"]
    vision = resnet_config(backbone["layers"], backbone["width"], backbone["input_resolution"])
    return dict(
        backbone=dict(type=CLIPBackbone, arch=arch_config(backbone["output_dim"], vision,
                                                          text_config(text, text["context_length"])),
                      size_policy="floor", out_indices=range(4), trainable="image", position_mode="crop"),
        neck=dict(type=FPN, **without_type(options["neck"])),
        class_names=options["class_names"],
        num_contexts=text["context_length"] - options["context_length"],
        name_length=options["context_length"],
        context_decoder=decoder_config(options["context_decoder"]),
        tau=options.get("tau", 0.07),
        box_score_loss=dict(type=BoxScoreLoss, as_released=True))


def anchor_config(head: dict[str, Any]) -> dict[str, Any]:
    return dict(type=AnchorGenerator, **without_type(head["anchor_generator"]))


def assigner_config(train_cfg: dict[str, Any]) -> dict[str, Any]:
    assigner = train_cfg["assigner"]
    return dict(type=MaxIoUAssigner, pos_iou=assigner["pos_iou_thr"], neg_iou=assigner["neg_iou_thr"],
                min_pos_iou=assigner["min_pos_iou"], match_low_quality=assigner.get("match_low_quality", True))


def sampler_config(train_cfg: dict[str, Any]) -> dict[str, Any]:
    sampler = train_cfg["sampler"]
    return dict(type=RandomSampler, num=sampler["num"], pos_fraction=sampler["pos_fraction"])


def proposal_config(cfg: dict[str, Any]) -> dict[str, Any]:
    return dict(type=ProposalSelection, nms_pre=cfg["nms_pre"], nms_iou=cfg["nms"]["iou_threshold"],
                max_per_image=cfg["max_per_img"])


def selection_config(test_cfg: dict[str, Any]) -> dict[str, Any]:
    return dict(type=BoxSelection, score_threshold=test_cfg["score_thr"], nms_iou=test_cfg["nms"]["iou_threshold"],
                max_per_image=test_cfg["max_per_img"], nms_pre=test_cfg.get("nms_pre", 1000))


RUNNERS = {
    "det_retinanet": retinanet,
    "det_maskrcnn": mask_rcnn,
}
