"""DenseCLIP's detectors (arXiv 2112.01518, section 4.2): the method is `guidance`, in front of standard heads.

    images -> CLIP image tower -> four levels, and score maps (see `models` one folder up)
    the last level is joined by the score maps -> FPN -> RetinaNet's head, or region proposals and region heads
    score maps -> cross entropy inside the true boxes

The baselines are the same detectors without score maps.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.model import BaseModel
from mmengine.structures import InstanceData
from torch import Tensor, nn

from clipapps.clip import CLIPBackbone
from clipapps.errors import ConfigError
from clipapps.projects.denseclip.class_names import resolve_class_names
from clipapps.projects.denseclip.derived import filled_in
from clipapps.projects.denseclip.detection.box_guidance import BoxGuidance
from clipapps.projects.denseclip.detection.preprocessing import CLIPDetPreprocessor
from clipapps.projects.denseclip.detection.samples import DetectionSample, Samples
from clipapps.registry import MODELS

Losses = dict[str, Tensor | list[Tensor]]


class CLIPDetector(BaseModel):
    """What RetinaNet and Mask R-CNN share: CLIP's image tower, an FPN, and the three ways to run.

    Args:
        backbone: config of a `CLIPBackbone`.
        neck: config of an `FPN`; `in_channels` is filled in.
        class_names: names in label order, or the name of a known list ("coco").
        pyramid: config of a `ViTPyramid` for ViT towers; `channels` is filled in.
        data_preprocessor: config of a `CLIPDetPreprocessor`; its statistics come from the backbone.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        neck: Mapping[str, Any],
        class_names: str | Sequence[str],
        *,
        pyramid: Mapping[str, Any] | None = None,
        data_preprocessor: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(data_preprocessor=MODELS.build(data_preprocessor or dict(type=CLIPDetPreprocessor)))
        self.class_names = resolve_class_names(class_names)
        if not self.class_names:
            raise ConfigError("model.class_names is empty; a detector needs at least one class.")
        self.num_classes = len(self.class_names)
        self.backbone: CLIPBackbone = MODELS.build(backbone)
        self.data_preprocessor.use_statistics(self.backbone.image_mean, self.backbone.image_std)
        self.pyramid: nn.Module | None = None
        if pyramid is not None:
            self.pyramid = MODELS.build({"channels": self.backbone.out_channels[0], **pyramid})
        self.neck = MODELS.build(filled_in(neck, "neck", in_channels=self._level_channels()))

    def _level_channels(self) -> list[int]:
        return list(self.backbone.out_channels)

    def _build_head(self, config: Mapping[str, Any], where: str, **derived: Any) -> Any:
        return MODELS.build(filled_in(config, where, in_channels=self.neck.out_channels, **derived))

    # ---- what a model adds ------------------------------------------------------------------------------------

    def encode_levels(self, images: Tensor) -> tuple[Sequence[Tensor], Tensor | None]:
        """The maps that the neck reads, and score maps where there are any."""
        levels = self.backbone(images).levels
        return (levels if self.pyramid is None else self.pyramid(levels)), None

    def guidance_losses(self, score_map: Tensor | None, images: Tensor, samples: Samples) -> dict[str, Tensor]:
        """Losses on the score maps."""
        return {}

    @abstractmethod
    def head_losses(self, maps: Sequence[Tensor], samples: Samples) -> Losses:
        """Losses of the heads on the neck's maps."""

    @abstractmethod
    def detect(self, maps: Sequence[Tensor], samples: Samples) -> list[InstanceData]:
        """Detections of each image on the neck's maps."""

    # ---- the three ways to run --------------------------------------------------------------------------------

    def forward(self, inputs: Tensor, data_samples: Samples | None = None, mode: str = "tensor") -> Any:
        """Run normalized images (B, 3, H, W).

        Args:
            inputs: the images, padded to one size.
            data_samples: one an image.
            mode: "loss": losses by name; "predict": the samples with `pred_instances`; "tensor": the neck's maps.
        """
        if mode == "loss":
            return self.loss(inputs, data_samples or ())
        if mode == "predict":
            return self.predict(inputs, data_samples or ())
        return self.extract_feat(inputs)

    def extract_feat(self, inputs: Tensor) -> Sequence[Tensor]:
        """Normalized images (B, 3, H, W) -> the neck's maps."""
        levels, _ = self.encode_levels(inputs)
        return self.neck(levels)

    def loss(self, inputs: Tensor, data_samples: Samples) -> Losses:
        """Losses of a batch of normalized images (B, 3, H, W); names with "loss" are summed up."""
        levels, score_map = self.encode_levels(inputs)
        losses = self.head_losses(self.neck(levels), data_samples)
        return losses | self.guidance_losses(score_map, inputs, data_samples)

    def predict(self, inputs: Tensor, data_samples: Samples) -> Sequence[DetectionSample]:
        """The samples, each with `pred_instances`; boxes in pixels of the original pictures."""
        for sample, found in zip(data_samples, self.detect(self.extract_feat(inputs), data_samples), strict=True):
            sample.pred_instances = found
        return data_samples


@MODELS.register_module()
class CLIPRetinaNet(CLIPDetector):
    """RetinaNet on CLIP's image tower, without language: the paper's baseline.

    Args:
        backbone, neck, class_names: see `CLIPDetector`.
        bbox_head: config of a `RetinaHead`; classes and channels are filled in.
        **options: further arguments of `CLIPDetector`.
    """

    def __init__(self, backbone: Mapping[str, Any], neck: Mapping[str, Any], bbox_head: Mapping[str, Any],
                 class_names: str | Sequence[str], **options: Any) -> None:
        super().__init__(backbone, neck, class_names, **options)
        self.bbox_head: Any = self._build_head(bbox_head, "bbox_head", num_classes=self.num_classes)

    def head_losses(self, maps: Sequence[Tensor], samples: Samples) -> Losses:
        """Focal loss and box loss of each level."""
        return self.bbox_head.loss(maps, samples)

    def detect(self, maps: Sequence[Tensor], samples: Samples) -> list[InstanceData]:
        """Boxes of each image."""
        return self.bbox_head.predict(maps, samples)


@MODELS.register_module()
class DenseCLIPRetinaNet(BoxGuidance, CLIPRetinaNet):
    """RetinaNet guided by pixel-text score maps; arguments of `BoxGuidance` and `CLIPRetinaNet`.

    >>> from clipapps.engine.config import load_config
    >>> config = load_config("denseclip/denseclip_retinanet_tiny_toyworld", ["model.backbone.weights=None"])
    >>> [tuple(level.shape[1:]) for level in MODELS.build(config.model).eval()(torch.rand(1, 3, 64, 96))]
    [(64, 8, 12), (64, 4, 6), (64, 2, 3), (64, 1, 2), (64, 1, 1)]
    """


@MODELS.register_module()
class CLIPMaskRCNN(CLIPDetector):
    """Mask R-CNN on CLIP's image tower, without language: the paper's baseline.

    Args:
        backbone, neck, class_names: see `CLIPDetector`.
        rpn_head: config of an `RPNHead`; channels are filled in.
        roi_head: config of a `RoIHead`; classes and channels are filled in.
        **options: further arguments of `CLIPDetector`.
    """

    def __init__(self, backbone: Mapping[str, Any], neck: Mapping[str, Any], rpn_head: Mapping[str, Any],
                 roi_head: Mapping[str, Any], class_names: str | Sequence[str], **options: Any) -> None:
        super().__init__(backbone, neck, class_names, **options)
        self.rpn_head: Any = self._build_head(rpn_head, "rpn_head")
        self.roi_head: Any = self._build_head(roi_head, "roi_head", num_classes=self.num_classes)

    def head_losses(self, maps: Sequence[Tensor], samples: Samples) -> Losses:
        """Losses of the proposals, level by level, and of the regions."""
        losses, proposals = self.rpn_head.loss_and_propose(maps, samples)
        return losses | self.roi_head.loss(maps, proposals, samples)

    def detect(self, maps: Sequence[Tensor], samples: Samples) -> list[InstanceData]:
        """Boxes and masks of each image."""
        return self.roi_head.predict(maps, self.rpn_head.propose(maps, samples), samples)


@MODELS.register_module()
class DenseCLIPMaskRCNN(BoxGuidance, CLIPMaskRCNN):
    """Mask R-CNN guided by pixel-text score maps; arguments of `BoxGuidance` and `CLIPMaskRCNN`.

    >>> from clipapps.engine.config import load_config
    >>> config = load_config("denseclip/denseclip_mask_rcnn_tiny_toyworld", ["model.backbone.weights=None"])
    >>> model = MODELS.build(config.model).eval()
    >>> batch = dict(inputs=[torch.zeros(3, 50, 90)], data_samples=[
    ...     DetectionSample(metainfo=dict(img_shape=(50, 90), ori_shape=(50, 90)))])
    >>> model.predict(**model.data_preprocessor(batch))[0].pred_instances.bboxes.shape[1]
    4
    """
