"""A segmentor with its class names fixed: text embeddings as constants, no text tower, any input size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from clipapps.clip import CLIPBackbone
from clipapps.engine.config import load_config
from clipapps.engine.config_name import name_of
from clipapps.engine.export import Exportable, Request
from clipapps.engine.trained_config import config_of_weights
from clipapps.errors import UserError, WeightsError
from clipapps.projects.denseclip.inferencer import checked_names, load_segmentor, trained_short_side
from clipapps.projects.denseclip.maskclip import MaskCLIPSegmentor
from clipapps.projects.denseclip.mmseg_parts import Upsample
from clipapps.projects.denseclip.models import CLIPSegmentor, DenseCLIPSegmentor
from clipapps.registry import MODELS

DEFAULT_SIDE = 512


class FixedClasses(nn.Module):
    """A segmentor whose class embeddings are buffers, so that its forward needs no text and no text tower.

    The segmentor is changed and belongs to this object from then on.

    Args:
        segmentor: any of this project's, in eval mode.

    Raises:
        UserError: its class embeddings cannot be constants (prompt mode "pre" computes its prompts from the image).

    >>> from clipapps.clip import CLIPBackbone
    >>> fixed = FixedClasses(MaskCLIPSegmentor(CLIPBackbone("tiny-rn", dense="value"), ["star", "sea"]))
    >>> fixed(torch.rand(1, 3, 64, 96)).shape
    torch.Size([1, 2, 64, 96])
    """

    def __init__(self, segmentor: CLIPSegmentor | MaskCLIPSegmentor) -> None:
        super().__init__()
        self.segmentor = segmentor.eval().requires_grad_(False)
        with torch.no_grad():
            if isinstance(segmentor, DenseCLIPSegmentor):
                self._fix_contexts(segmentor)
            elif isinstance(segmentor, MaskCLIPSegmentor):
                self._fix_phrases(segmentor)
        segmentor.backbone.drop_text_tower()
        _size_from_tensors(segmentor)

    def forward(self, images: Tensor) -> Tensor:
        """Normalized images (B, 3, H, W) -> logits (B, K, H, W)."""
        size = images.shape[2:]
        return self.segmentor.encode_decode(images, [dict(img_shape=size, ori_shape=size)])

    def _fix_contexts(self, segmentor: DenseCLIPSegmentor) -> None:
        if segmentor.prompt_mode == "pre":
            raise UserError("A model of prompt_mode \"pre\" computes its prompts from each image, so its text tower "
                            "cannot be left out; export one of another mode.")
        self.register_buffer("trained_names", segmentor.shared_text_embeddings().clone())
        if segmentor.vocabulary is not None:
            self.register_buffer("vocabulary", segmentor.shared_text_embeddings(segmentor.vocabulary).clone())
        segmentor.shared_text_embeddings = (
            lambda names=None: self.trained_names if names is None else self.vocabulary)

    def _fix_phrases(self, segmentor: MaskCLIPSegmentor) -> None:
        backbone = segmentor.backbone
        self.register_buffer("phrases", backbone.encode_classes(segmentor.phrases, segmentor.templates).clone())
        if segmentor.scale is None:
            segmentor.scale = backbone.logit_scale().item()
        backbone.encode_classes = lambda *_: self.phrases


class DoubledSize(nn.Module):
    """Bilinear x2 whose target size is taken from the tensor, where mmseg's `Upsample` computes it outside the graph.

    It has no parameters and stands in its place, so the head's parameters keep their names.

    >>> DoubledSize()(torch.rand(1, 2, 3, 5)).shape
    torch.Size([1, 2, 6, 10])
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, 2h, 2w)."""
        return F.interpolate(x, size=(2 * x.shape[2], 2 * x.shape[3]), mode="bilinear", align_corners=False)


def make_exportable(request: Request) -> Exportable:
    """The segmentor of a checkpoint (or a training-free one), ready to be traced.

    Raises:
        UserError: no weights for a config that needs them; class names for a model without language; see
            `FixedClasses`. WeightsError: weights that do not fit.
    """
    cfg = _config(request)
    segmentor = _segmentor(cfg, request.weights)
    names = checked_names(request.classes) if request.classes is not None else segmentor.class_names
    if names != segmentor.class_names:
        segmentor = _with_names(segmentor, cfg, names)
    backbone: CLIPBackbone = segmentor.backbone
    model = FixedClasses(segmentor)
    test_cfg = dict(segmentor.test_cfg or {})
    side = max(test_cfg.get("crop_size") or (trained_short_side(cfg) or DEFAULT_SIDE,))
    smallest = 2 * max(backbone.stride, 32)  # two cells of the coarsest level
    multiple = 1 if backbone.size_policy == "floor" else backbone.stride
    backbone.size_policy = "floor"  # the rule stands in the metadata; a graph has nowhere to raise it
    return Exportable(model, (max(side, smallest),) * 2, smallest, multiple, dict(
        config=name_of(cfg), class_names=list(names), mean=list(backbone.image_mean), std=list(backbone.image_std),
        short_side=trained_short_side(cfg) or 0, inference=test_cfg))


def _config(request: Request) -> Config:
    if request.weights is not None:
        return config_of_weights("denseclip", request.weights, request.config)
    if request.config is None:
        raise UserError("Exporting needs --weights, or a training-free config such as denseclip/maskclip_tiny_toyworld "
                        "instead of the project.")
    return load_config(request.config)


def _segmentor(cfg: Config, weights: Path | None) -> Any:
    if weights is not None:
        segmentor: Any = load_segmentor(cfg, weights)
    else:
        init_default_scope("clipapps")
        segmentor = MODELS.build(cfg.model)
        if not isinstance(segmentor, MaskCLIPSegmentor):
            raise UserError(f"{name_of(cfg)} is trained before it is exported: give its --weights.")
        segmentor.backbone.init_weights()
    if not isinstance(segmentor, CLIPSegmentor | MaskCLIPSegmentor):
        raise WeightsError(f"{name_of(cfg)} builds a {type(segmentor).__name__}; only segmentors are exported.")
    return segmentor.eval()


def _with_names(segmentor: Any, cfg: Config, names: Sequence[str]) -> Any:
    """The segmentor for other names: the score maps of one with language, the training-free one built anew."""
    if isinstance(segmentor, DenseCLIPSegmentor):
        segmentor.use_vocabulary(names)
        return segmentor
    if not isinstance(segmentor, MaskCLIPSegmentor):
        raise UserError(f"{name_of(cfg)} has no language part, so it only knows the classes it was trained with: "
                        f"{', '.join(segmentor.class_names)}. Leave out the class names.")
    wordings = {name: words for name, words in (cfg.model.get("wordings") or {}).items() if name in names}
    return MaskCLIPSegmentor(segmentor.backbone, names, wordings=wordings, templates=segmentor.templates,
                             scale=segmentor.scale, test_cfg=segmentor.test_cfg).eval()


def _size_from_tensors(model: nn.Module) -> None:
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, Upsample):
                if (child.size, child.scale_factor, child.mode, child.align_corners) != (None, 2.0, "bilinear", False):
                    raise UserError("A head whose upsampling is not bilinear x2 is not exported.")
                setattr(parent, name, DoubledSize())
