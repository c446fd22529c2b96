"""Region proposals: which anchors may hold an object (Faster R-CNN, section 3.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData
from torch import Tensor, nn

from clipapps.projects.denseclip.detection.anchor_heads import AnchorOutputs, anchor_losses, match_anchors
from clipapps.projects.denseclip.detection.box_coder import BoxCoder
from clipapps.projects.denseclip.detection.matching import AnchorMatcher
from clipapps.projects.denseclip.detection.samples import DetectionSample, Samples
from clipapps.projects.denseclip.detection.suppression import ProposalSelection
from clipapps.registry import MODELS


@MODELS.register_module(name="DenseCLIPRPNHead")
class RPNHead(nn.Module):
    """One convolution for all levels, then one score and four offsets for each anchor.

    Args:
        in_channels: of every level.
        anchors: config of an `AnchorGenerator`.
        assigner: config of a `MaxIoUAssigner`.
        sampler: config of a `RandomSampler`.
        feat_channels: width of the convolution.
        train_selection, test_selection: configs of a `ProposalSelection`.
        released_init: begin with PyTorch's default weights, as the released training ran; by default with normal ones
            of standard deviation 0.01.
    """

    def __init__(
        self,
        in_channels: int,
        anchors: Mapping[str, Any],
        assigner: Mapping[str, Any],
        sampler: Mapping[str, Any],
        *,
        feat_channels: int = 256,
        train_selection: Mapping[str, Any] | None = None,
        test_selection: Mapping[str, Any] | None = None,
        released_init: bool = False,
    ) -> None:
        super().__init__()
        self.anchors, self.coder = MODELS.build(anchors), BoxCoder()
        self.matcher = AnchorMatcher(MODELS.build(assigner), MODELS.build(sampler), self.coder, num_classes=1)
        self.train_selection = MODELS.build(train_selection or dict(type=ProposalSelection, nms_pre=2000))
        self.test_selection = MODELS.build(test_selection or dict(type=ProposalSelection))
        self.rpn_conv = nn.Conv2d(in_channels, feat_channels, 3, padding=1)
        self.rpn_cls = nn.Conv2d(feat_channels, self.anchors.per_cell, 1)
        self.rpn_reg = nn.Conv2d(feat_channels, self.anchors.per_cell * 4, 1)
        for layer in () if released_init else (self.rpn_conv, self.rpn_cls, self.rpn_reg):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.constant_(layer.bias, 0.0)  # type: ignore[arg-type]

    def forward(self, maps: Sequence[Tensor]) -> AnchorOutputs:
        """Maps (B, C, h, w) of each level -> logits and offsets of their anchors."""
        of_objects, of_boxes = self.forward_maps(maps)
        return AnchorOutputs.from_maps(of_objects, of_boxes, self.anchors.per_cell)

    def forward_maps(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Maps of each level -> (B, A, h, w) and (B, A * 4, h, w)."""
        shared = [F.relu(self.rpn_conv(level)) for level in maps]
        return [self.rpn_cls(level) for level in shared], [self.rpn_reg(level) for level in shared]

    def loss_and_propose(self, maps: Sequence[Tensor],
                         samples: Samples) -> tuple[dict[str, list[Tensor]], list[InstanceData]]:
        """Losses of each level, divided by the sampled anchors, and the proposals to learn from, without gradients."""
        outputs = self(maps)
        targets = match_anchors(outputs, self.anchors, self.matcher, samples, with_classes=False)
        # As in the reference implementation an image counts for one positive and one background anchor at least.
        divisor = float(sum(max(len(target.positive), 1) + max(target.num_negative, 1) for target in targets))
        of_objects, of_boxes = anchor_losses(outputs, targets, _cross_entropy, divisor)
        proposals = self._propose(outputs, samples, self.train_selection)
        return dict(loss_rpn_cls=of_objects, loss_rpn_bbox=of_boxes), proposals

    def propose(self, maps: Sequence[Tensor], samples: Samples) -> list[InstanceData]:
        """Proposals of each image, `bboxes` in pixels of the resized picture and `scores`, from high to low."""
        return self._propose(self(maps), samples, self.test_selection)

    @torch.no_grad()
    def _propose(self, outputs: AnchorOutputs, samples: Samples, selection: ProposalSelection) -> list[InstanceData]:
        anchors = self.anchors.grid(outputs.sizes, outputs.logits[0].device)
        return [self._propose_one(outputs, anchors, index, sample, selection) for index, sample in enumerate(samples)]

    def _propose_one(self, outputs: AnchorOutputs, anchors: Sequence[Tensor], index: int, sample: DetectionSample,
                     selection: ProposalSelection) -> InstanceData:
        boxes, scores = [], []
        for logits, offsets, references in zip(outputs.logits, outputs.offsets, anchors, strict=True):
            of_level = logits[index, :, 0].sigmoid()
            best = of_level.topk(min(selection.nms_pre, len(of_level)))
            boxes.append(self.coder.decode(references[best.indices], offsets[index, best.indices],
                                           sample.img_shape[:2]))
            scores.append(best.values)
        return selection(boxes, scores)


def _cross_entropy(logits: Tensor, wanted: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
