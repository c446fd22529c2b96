"""RetinaNet's head: every anchor of every level is classified and refined (RetinaNet, sections 3 and 4)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torchvision.ops import sigmoid_focal_loss

from clipapps.projects.denseclip.detection.anchor_heads import AnchorOutputs, anchor_losses, match_anchors
from clipapps.projects.denseclip.detection.box_coder import BoxCoder
from clipapps.projects.denseclip.detection.matching import AnchorMatcher
from clipapps.projects.denseclip.detection.samples import DetectionSample, Samples, scale_of
from clipapps.projects.denseclip.detection.suppression import BoxSelection
from clipapps.registry import MODELS


@MODELS.register_module(name="DenseCLIPRetinaHead")
class RetinaHead(nn.Module):
    """Two towers of convolutions, shared by all levels: K sigmoid scores and four offsets for each anchor.

    Args:
        num_classes: classes K.
        in_channels: of every level.
        anchors: config of an `AnchorGenerator`.
        assigner: config of a `MaxIoUAssigner`.
        feat_channels: width of the towers.
        stacked_convs: their depth.
        gamma, alpha: of the focal loss.
        prior: probability of an object that the untrained head states; its last layers then begin with normal weights
            of standard deviation 0.01. None: PyTorch's default, which is what the released training ran with.
        selection: config of a `BoxSelection`; None: the published one.

    >>> from clipapps.projects.denseclip.detection.anchors import AnchorGenerator
    >>> from clipapps.projects.denseclip.detection.matching import MaxIoUAssigner
    >>> anchors = dict(type=AnchorGenerator, strides=[8], scales=[4])
    >>> assigner = dict(type=MaxIoUAssigner, pos_iou=0.5, neg_iou=0.4)
    >>> head = RetinaHead(num_classes=3, in_channels=8, feat_channels=8, anchors=anchors, assigner=assigner)
    >>> [tuple(level.shape) for level in head([torch.rand(2, 8, 4, 6)]).logits]
    [(2, 72, 3)]
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        anchors: Mapping[str, Any],
        assigner: Mapping[str, Any],
        *,
        feat_channels: int = 256,
        stacked_convs: int = 4,
        gamma: float = 2.0,
        alpha: float = 0.25,
        prior: float | None = 0.01,
        selection: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.num_classes, self.gamma, self.alpha = num_classes, gamma, alpha
        self.anchors, self.coder = MODELS.build(anchors), BoxCoder()
        self.matcher = AnchorMatcher(MODELS.build(assigner), None, self.coder, num_classes)
        self.selection = MODELS.build(selection) if selection is not None else BoxSelection()
        widths = [in_channels, *[feat_channels] * (stacked_convs - 1)]
        self.cls_convs = nn.ModuleList(ConvModule(width, feat_channels, 3, padding=1) for width in widths)
        self.reg_convs = nn.ModuleList(ConvModule(width, feat_channels, 3, padding=1) for width in widths)
        per_cell = self.anchors.per_cell
        self.retina_cls = nn.Conv2d(feat_channels, per_cell * num_classes, 3, padding=1)
        self.retina_reg = nn.Conv2d(feat_channels, per_cell * 4, 3, padding=1)
        if prior is not None:
            self._start_from(prior)

    def _start_from(self, prior: float) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        torch.nn.init.constant_(self.retina_cls.bias, -math.log((1 - prior) / prior))  # type: ignore[arg-type]

    def forward(self, maps: Sequence[Tensor]) -> AnchorOutputs:
        """Maps (B, C, h, w) of each level -> logits and offsets of their anchors."""
        of_classes, of_boxes = self.forward_maps(maps)
        return AnchorOutputs.from_maps(of_classes, of_boxes, self.anchors.per_cell)

    def forward_maps(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Maps of each level -> (B, A * K, h, w) and (B, A * 4, h, w); channel = anchor * K + class."""
        of_classes, of_boxes = [], []
        for level in maps:
            classes = boxes = level
            for class_conv, box_conv in zip(self.cls_convs, self.reg_convs, strict=True):
                classes, boxes = class_conv(classes), box_conv(boxes)
            of_classes.append(self.retina_cls(classes))
            of_boxes.append(self.retina_reg(boxes))
        return of_classes, of_boxes

    def loss(self, maps: Sequence[Tensor], samples: Samples) -> dict[str, list[Tensor]]:
        """Focal loss and L1 loss of each level, divided by the positive anchors (at least one an image)."""
        outputs = self(maps)
        targets = match_anchors(outputs, self.anchors, self.matcher, samples)
        divisor = float(sum(max(len(target.positive), 1) for target in targets))
        of_classes, of_boxes = anchor_losses(outputs, targets, self._focal_loss, divisor)
        return dict(loss_cls=of_classes, loss_bbox=of_boxes)

    def _focal_loss(self, logits: Tensor, wanted: Tensor) -> Tensor:
        return sigmoid_focal_loss(logits, wanted, alpha=self.alpha, gamma=self.gamma, reduction="none")

    def predict(self, maps: Sequence[Tensor], samples: Samples) -> list[InstanceData]:
        """Detections of each image, in pixels of the original picture."""
        outputs = self(maps)
        anchors = self.anchors.grid(outputs.sizes, maps[0].device)
        return [self._predict_one(outputs, anchors, index, sample) for index, sample in enumerate(samples)]

    def _predict_one(self, outputs: AnchorOutputs, anchors: Sequence[Tensor], index: int,
                     sample: DetectionSample) -> InstanceData:
        boxes, scores = [], []
        for logits, offsets, references in zip(outputs.logits, outputs.offsets, anchors, strict=True):
            of_level = logits[index].sigmoid()
            kept = self.selection.best_of_level(of_level)
            boxes.append(self.coder.decode(references[kept], offsets[index, kept], sample.img_shape[:2]))
            scores.append(of_level[kept])
        return self.selection(torch.cat(boxes) / scale_of(sample, boxes[0]), torch.cat(scores))
