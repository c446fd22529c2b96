"""From proposals to objects: sampling, losses and detections of the region heads (Mask R-CNN, section 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData
from torch import Tensor, nn
from torchvision.ops import roi_align

from clipapps.projects.denseclip.derived import filled_in
from clipapps.projects.denseclip.detection.box_coder import BoxCoder
from clipapps.projects.denseclip.detection.masks import paste_masks
from clipapps.projects.denseclip.detection.matching import MaxIoUAssigner, RandomSampler
from clipapps.projects.denseclip.detection.region_heads import RegionAlign
from clipapps.projects.denseclip.detection.samples import DetectionSample, Samples, scale_of
from clipapps.projects.denseclip.detection.suppression import BoxSelection
from clipapps.registry import MODELS

REGION_STDS = (0.1, 0.1, 0.2, 0.2)


@dataclass
class SampledRegions:
    """The regions of one image that the heads learn from.

    Args:
        boxes: (R, 4), positive ones first.
        objects: index of the true object of each positive one, (P,).
    """

    boxes: Tensor
    objects: Tensor


@MODELS.register_module(name="DenseCLIPRoIHead")
class RoIHead(nn.Module):
    """Mask R-CNN's second stage; without a mask head it is Faster R-CNN's.

    Args:
        num_classes: classes K.
        in_channels: of every level.
        bbox_head: config of a `BoxHead`.
        mask_head: config of a `MaskHead`; None: boxes only.
        assigner: config of a `MaxIoUAssigner`; None: the published one.
        sampler: config of a `RandomSampler`; None: the published one.
        selection: config of a `BoxSelection`; None: the published one.
        box_size, mask_size: of the features of a region.
        strides, finest_scale: see `RegionAlign`.
        mask_threshold: a pixel belongs to an object from this probability on.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        bbox_head: Mapping[str, Any],
        mask_head: Mapping[str, Any] | None = None,
        *,
        assigner: Mapping[str, Any] | None = None,
        sampler: Mapping[str, Any] | None = None,
        selection: Mapping[str, Any] | None = None,
        box_size: int = 7,
        mask_size: int = 14,
        strides: Sequence[int] = (4, 8, 16, 32),
        finest_scale: float = 56.0,
        mask_threshold: float = 0.5,
    ) -> None:
        super().__init__()
        self.num_classes, self.mask_threshold, self.coder = num_classes, mask_threshold, BoxCoder(REGION_STDS)
        self.assigner: MaxIoUAssigner = MODELS.build(assigner or dict(
            type=MaxIoUAssigner, pos_iou=0.5, neg_iou=0.5, min_pos_iou=0.5))
        self.sampler: RandomSampler = MODELS.build(sampler or dict(type=RandomSampler, num=512, pos_fraction=0.25))
        self.selection: BoxSelection = BoxSelection() if selection is None else MODELS.build(selection)
        self.box_align = RegionAlign(box_size, strides, finest_scale)
        self.mask_align = RegionAlign(mask_size, strides, finest_scale)
        derived = dict(num_classes=num_classes, in_channels=in_channels)
        self.bbox_head: Any = MODELS.build(filled_in(bbox_head, "roi_head.bbox_head", size=box_size, **derived))
        self.mask_head: Any = None
        if mask_head is not None:
            self.mask_head = MODELS.build(filled_in(mask_head, "roi_head.mask_head", **derived))

    # ---- training ---------------------------------------------------------------------------------------------

    def loss(self, maps: Sequence[Tensor], proposals: Sequence[InstanceData], samples: Samples) -> dict[str, Tensor]:
        """Losses of regions drawn from the proposals, and `acc`, the share of right classes in percent."""
        drawn = [self.draw(found.bboxes, sample.gt_instances.bboxes)
                 for found, sample in zip(proposals, samples, strict=True)]
        truth = [sample.gt_instances for sample in samples]
        losses = self._box_losses(maps, drawn, truth)
        if self.mask_head is not None:
            losses["loss_mask"] = self._mask_loss(maps, drawn, truth)
        return losses

    def draw(self, proposals: Tensor, objects: Tensor) -> SampledRegions:
        """Regions to learn from: proposals (N, 4) and the true objects (G, 4) themselves, at random."""
        everyone = torch.arange(len(objects), device=objects.device)
        assigned = torch.cat([everyone, self.assigner(proposals, objects)])
        positive, negative = self.sampler(assigned)
        boxes = torch.cat([objects, proposals])
        return SampledRegions(boxes[torch.cat([positive, negative])], assigned[positive])

    def _box_losses(self, maps: Sequence[Tensor], drawn: Sequence[SampledRegions],
                    truth: Sequence[InstanceData]) -> dict[str, Tensor]:
        """Both are divided by the number of all regions, background included."""
        features = self.box_align(maps, as_regions([item.boxes for item in drawn]))
        logits, offsets = (output.float() for output in self.bbox_head(features))
        labels = torch.cat([self._labels(item, own) for item, own in zip(drawn, truth, strict=True)])
        positive = (labels < self.num_classes).nonzero().flatten()
        references = torch.cat([item.boxes[:len(item.objects)] for item in drawn])
        wanted = self.coder.encode(references, torch.cat([own.bboxes[item.objects] for item, own
                                                          in zip(drawn, truth, strict=True)]))
        own_offsets = offsets.unflatten(1, (self.num_classes, 4))[positive, labels[positive]]  # (P, 4)
        count = max(len(labels), 1)
        return dict(loss_cls=F.cross_entropy(logits, labels, reduction="sum") / count,
                    loss_bbox=(own_offsets - wanted).abs().sum() / count,
                    acc=100 * (logits.argmax(dim=1) == labels).float().sum() / count)

    def _labels(self, item: SampledRegions, truth: InstanceData) -> Tensor:
        labels = truth.labels.new_full((len(item.boxes),), self.num_classes)
        labels[:len(item.objects)] = truth.labels[item.objects]
        return labels

    def _mask_loss(self, maps: Sequence[Tensor], drawn: Sequence[SampledRegions],
                   truth: Sequence[InstanceData]) -> Tensor:
        """Mean over the pixels of the positive regions, of the mask of the true class alone."""
        boxes = [item.boxes[:len(item.objects)] for item in drawn]
        labels = torch.cat([own.labels[item.objects] for item, own in zip(drawn, truth, strict=True)])
        logits = self.mask_head(self.mask_align(maps, as_regions(boxes))).float()
        own_logits = logits[torch.arange(len(labels), device=logits.device), labels]  # (P, 2m, 2m)
        wanted = torch.cat([mask_targets(own.masks, item.objects, of_item, logits.shape[2])
                            for item, own, of_item in zip(drawn, truth, boxes, strict=True)])
        errors = F.binary_cross_entropy_with_logits(own_logits, wanted, reduction="sum")
        return errors / max(wanted.numel(), 1)

    # ---- inference --------------------------------------------------------------------------------------------

    def predict(self, maps: Sequence[Tensor], proposals: Sequence[InstanceData],
                samples: Samples) -> list[InstanceData]:
        """Detections of each image, in pixels of the original picture; with masks where there is a mask head."""
        boxes = [found.bboxes for found in proposals]
        logits, offsets = self.bbox_head(self.box_align(maps, as_regions(boxes)))
        counts = [len(found) for found in boxes]
        scores = logits.float().softmax(dim=1)[:, :-1].split(counts)
        moves = offsets.float().unflatten(1, (self.num_classes, 4)).split(counts)
        found = []
        for references, confidence, move, sample in zip(boxes, scores, moves, samples, strict=True):
            refined = self.coder.decode(references, move, sample.img_shape[:2])  # (N, K, 4)
            found.append(self.selection(refined / scale_of(sample, refined), confidence))
        if self.mask_head is not None:
            self._add_masks(maps, found, samples)
        return found

    def _add_masks(self, maps: Sequence[Tensor], found: Sequence[InstanceData], samples: Samples) -> None:
        boxes = [result.bboxes * scale_of(sample, result.bboxes) for result, sample in zip(found, samples, strict=True)]
        logits = self.mask_head(self.mask_align(maps, as_regions(boxes))).float()
        labels = torch.cat([result.labels for result in found])
        masks = logits[torch.arange(len(labels), device=logits.device), labels].sigmoid()
        for result, own, sample in zip(found, masks.split([len(result) for result in found]), samples, strict=True):
            result.masks = paste_masks(own, result.bboxes, original_size(sample), self.mask_threshold)


def as_regions(boxes: Sequence[Tensor]) -> Tensor:
    """Boxes (N_i, 4) of each image -> (sum of N_i, 5) with the index of the image in front."""
    return torch.cat([F.pad(own, (1, 0), value=index) for index, own in enumerate(boxes)])


def mask_targets(masks: Tensor, objects: Tensor, boxes: Tensor, size: int) -> Tensor:
    """What the mask of each region should be, (P, size, size) of 0 and 1: its object's mask, cut out and resized.

    Args:
        masks: (G, H, W) of the true objects.
        objects: index of the object of each region, (P,).
        boxes: (P, 4).
        size: of the head's output.
    """
    regions = torch.cat([objects[:, None].to(boxes), boxes], dim=1)
    return (roi_align(masks[:, None].float(), regions, size, 1.0, 0, aligned=True)[:, 0] >= 0.5).float()


def original_size(sample: DetectionSample) -> tuple[int, int]:
    """(H, W) of the picture as it was loaded."""
    height, width = sample.ori_shape[:2]
    return int(height), int(width)
