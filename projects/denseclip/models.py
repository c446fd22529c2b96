"""DenseCLIP for semantic segmentation (arXiv 2112.01518): the method, top to bottom.

    images -> CLIP image tower -> pyramid levels, pooled z0, dense z                        (section 3.2)
    class names -> CLIP text tower with learnable contexts -> text embeddings t             (section 3.2, equation 1)
    t' = t + gamma * context_decoder(t, [z0, z])                                            (section 3.3, post-model)
    scores = cosine(z, t')            one map a class: concatenated to one pyramid level, and supervised itself
    pyramid -> FPN -> Semantic FPN head -> segmentation

Letters: B images, K classes, E joint embedding size, W text width, L tokens of a name, N contexts, h x w dense grid.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipapps.clip import CLIPBackbone
from clipapps.errors import ConfigError, did_you_mean
from clipapps.projects.denseclip.class_names import resolve_class_names
from clipapps.projects.denseclip.derived import filled_in
from clipapps.projects.denseclip.guidance import LanguageGuidance, pixel_text_scores, visual_tokens
from clipapps.projects.denseclip.mmseg_parts import (
    BaseDecodeHead,
    BaseSegmentor,
    EncoderDecoder,
    SampleList,
    add_prefix,
)
from clipapps.projects.denseclip.open_vocabulary import SOURCES, combined_log_probabilities
from clipapps.projects.denseclip.preprocessing import CLIPSegPreprocessor
from clipapps.projects.denseclip.windows import BatchedWindows
from clipapps.registry import MODELS


@MODELS.register_module()
class CLIPSegmentor(BatchedWindows, EncoderDecoder):
    """The paper's baseline: CLIP's image tower, FPN and a decode head, no language.

    Args:
        backbone: config of a `CLIPBackbone`.
        decode_head: config of an mmseg head; `num_classes` may be left out when `class_names` are given.
        class_names: names in label order, or the name of a known list ("ade20k", "camvid").
        neck: config of an mmseg neck; `in_channels` is filled in.
        pyramid: config of a `ViTPyramid` for ViT towers; `channels` is filled in.
        auxiliary_head: config of an mmseg head on the neck's outputs, or a list of them.
        data_preprocessor: config of a `CLIPSegPreprocessor`; its statistics come from the backbone.
        count_ignored_pixels: log accuracies as the released code does, over all pixels, ignored ones included.
        channels_last: keep images and convolution weights in that memory format, which many devices convolve faster.
        train_cfg, test_cfg, init_cfg: as in mmseg's EncoderDecoder; `test_cfg` chooses whole or sliding inference, see
            `BatchedWindows`.

    >>> from clipapps.engine.config import load_config
    >>> config = load_config("denseclip/fpn_tiny_toyworld", ["model.backbone.weights=None"])
    >>> [tuple(level.shape[1:]) for level in MODELS.build(config.model).extract_feat(torch.rand(2, 3, 64, 64))]
    [(32, 16, 16), (32, 8, 8), (32, 4, 4), (32, 2, 2)]
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        decode_head: Mapping[str, Any],
        class_names: str | Sequence[str] | None = None,
        *,
        neck: Mapping[str, Any] | None = None,
        pyramid: Mapping[str, Any] | None = None,
        auxiliary_head: Any = None,
        data_preprocessor: Mapping[str, Any] | None = None,
        count_ignored_pixels: bool = False,
        channels_last: bool = False,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        init_cfg: Any = None,
    ) -> None:
        BaseSegmentor.__init__(self, data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.class_names = resolve_class_names(class_names)
        self.count_ignored_pixels = count_ignored_pixels
        self.train_cfg, self.test_cfg = train_cfg, test_cfg
        self.backbone: CLIPBackbone = MODELS.build(backbone)
        if isinstance(self.data_preprocessor, CLIPSegPreprocessor):
            self.data_preprocessor.use_statistics(self.backbone.image_mean, self.backbone.image_std)
        self.pyramid: nn.Module | None = None
        if pyramid is not None:
            self.pyramid = MODELS.build({"channels": self.backbone.out_channels[0], **pyramid})
        if self.class_names:
            decode_head = filled_in(decode_head, "decode_head", num_classes=len(self.class_names))
        if neck is not None:
            self.neck = MODELS.build(filled_in(neck, "neck", in_channels=self._level_channels()))
        with _without_loss_notice():
            self._init_decode_head(decode_head)
            self._init_auxiliary_head(auxiliary_head)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        if channels_last:
            self.to(memory_format=self.memory_format)

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = "tensor") -> Any:
        """Losses, predictions, or maps of normalized images (B, 3, H, W), as `mode` says (mmseg's three)."""
        return super().forward(inputs.contiguous(memory_format=self.memory_format), data_samples, mode)

    def _level_channels(self) -> list[int]:
        return list(self.backbone.out_channels)

    def extract_feat(self, inputs: Tensor) -> Sequence[Tensor]:
        """Normalized images (B, 3, H, W) -> the maps that the decode head reads."""
        levels = self.backbone(inputs).levels
        levels = levels if self.pyramid is None else self.pyramid(levels)
        return self.neck(levels) if self.with_neck else levels

    def loss(self, inputs: Tensor, data_samples: SampleList) -> dict[str, Tensor]:
        """Losses (names with "loss") and accuracies in percent of a batch of normalized images (B, 3, H, W)."""
        losses = self._losses(inputs, data_samples)
        if self.count_ignored_pixels:
            labels = torch.stack([sample.gt_sem_seg.data for sample in data_samples])
            labeled = (labels != self.decode_head.ignore_index).float().mean()
            losses = {name: value * labeled if name.endswith("acc_seg") else value for name, value in losses.items()}
        return losses

    def _losses(self, inputs: Tensor, data_samples: SampleList) -> dict[str, Tensor]:
        return super().loss(inputs, data_samples)

    def predict_probabilities(self, inputs: Tensor, data_samples: SampleList | None = None) -> list[Tensor]:
        """Class probabilities (K, H, W) of each of the normalized images (B, 3, h, w), at its original size."""
        return [sample.seg_logits.data.softmax(dim=0) for sample in self.predict(inputs, data_samples)]


@MODELS.register_module()
class DenseCLIPSegmentor(LanguageGuidance, CLIPSegmentor):
    """Semantic segmentation guided by pixel-text score maps (DenseCLIP, section 3).

    Args:
        backbone, decode_head, class_names: see `CLIPSegmentor`; names may have any length that the text tower reads.
        identity_head: config of an `IdentityHead`, the auxiliary loss on the scores; None: no such loss.
        vocabulary: names to predict instead of the trained ones, any number of any names; see `use_vocabulary`.
        vocabulary_source: "scores" or "scores+decoder", see `use_vocabulary`.
        **options: further arguments of `LanguageGuidance` and `CLIPSegmentor`.

    >>> from clipapps.engine.config import load_config
    >>> config = load_config("denseclip/denseclip_fpn_tiny_toyworld", ["model.backbone.weights=None"])
    >>> model = MODELS.build(config.model).eval()
    >>> model.encode(torch.rand(1, 3, 128, 96)).score_map.shape
    torch.Size([1, 11, 4, 3])
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        decode_head: Mapping[str, Any],
        class_names: str | Sequence[str],
        *,
        identity_head: Mapping[str, Any] | None = None,
        vocabulary: Sequence[str] | None = None,
        vocabulary_source: str = "scores",
        **options: Any,
    ) -> None:
        super().__init__(backbone=backbone, decode_head=decode_head, class_names=class_names, **options)
        self.identity_head: IdentityHead | None = None
        if identity_head is not None:
            self.identity_head = MODELS.build({"num_classes": self.num_classes, **identity_head})
        self.use_vocabulary(vocabulary, vocabulary_source)

    def use_vocabulary(self, names: Sequence[str] | None, source: str = "scores") -> None:
        """Predict these names from now on; training and its losses keep the trained ones.

        Args:
            names: None: the trained ones, by the decoder.
            source: "scores": score maps of all names decide; "scores+decoder": score maps say where new names are, the
                decoder divides the rest among the names it was trained with.

        Raises:
            ConfigError: an unknown source, or an empty name.
        """
        if source not in SOURCES:
            raise ConfigError(f"model.vocabulary_source {source!r} is unknown.{did_you_mean(source, SOURCES)} Choose "
                              f"one of {', '.join(SOURCES)}.")
        self.vocabulary = resolve_class_names(names) or None
        self.vocabulary_source = source

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Normalized images (B, 3, H, W) -> logits (B, K, H, W) of the trained names, or of the vocabulary."""
        if self.vocabulary is None or self.vocabulary == self.class_names:
            logits: Tensor = super().encode_decode(inputs, batch_img_metas)
            return logits
        if self.vocabulary_source == "scores":
            return _upsampled(self.score_names(inputs, self.vocabulary) / self.tau, inputs)
        features = self.encode(inputs)
        text_embeds = self.encode_names(visual_tokens(features), self.vocabulary)
        scores = pixel_text_scores(features.dense, text_embeds) / self.tau
        decoder = self.decode_head(self.neck(features.levels) if self.with_neck else features.levels)
        return combined_log_probabilities(_upsampled(scores, inputs), self.vocabulary, _upsampled(decoder, inputs),
                                          self.class_names)

    def extract_feat(self, inputs: Tensor) -> Sequence[Tensor]:
        """Normalized images (B, 3, H, W) -> the maps that the decode head reads."""
        levels = self.encode(inputs).levels
        return self.neck(levels) if self.with_neck else levels

    def _losses(self, inputs: Tensor, data_samples: SampleList) -> dict[str, Tensor]:
        features = self.encode(inputs)
        maps = self.neck(features.levels) if self.with_neck else features.levels
        losses = self._decode_head_forward_train(maps, data_samples)
        if self.with_auxiliary_head:
            losses.update(self._auxiliary_head_forward_train(maps, data_samples))
        if self.identity_head is not None:
            scores = features.score_map / self.tau
            losses.update(add_prefix(self.identity_head.loss(scores, data_samples, self.train_cfg), "aux_identity"))
        return losses


@MODELS.register_module(name="DenseCLIPIdentityHead")
class IdentityHead(BaseDecodeHead):
    """The auxiliary loss on the score maps: a head without parameters (DenseCLIP, section 3.4).

    Args:
        num_classes: classes K.
        loss_decode: config of the loss; the released configs weigh it 0.4.
        ignore_index: label value without loss.

    >>> from clipapps.projects.denseclip.mmseg_parts import CrossEntropyLoss
    >>> head = IdentityHead(num_classes=3, loss_decode=dict(type=CrossEntropyLoss, loss_weight=0.4))
    >>> len(list(head.parameters()))
    0
    """

    def __init__(self, num_classes: int, loss_decode: Mapping[str, Any], ignore_index: int = 255) -> None:
        with _without_loss_notice():
            super().__init__(in_channels=1, channels=1, num_classes=num_classes, dropout_ratio=0,
                             loss_decode=loss_decode, ignore_index=ignore_index, init_cfg=None)
        del self.conv_seg

    def forward(self, inputs: Tensor) -> Tensor:
        """Scores (B, K, h, w), divided by the temperature, are the logits."""
        return inputs


def _upsampled(logits: Tensor, images: Tensor) -> Tensor:
    return F.interpolate(logits, size=images.shape[2:], mode="bilinear", align_corners=False)


@contextmanager
def _without_loss_notice() -> Iterator[None]:
    """The mean runs over ignored pixels, too, as published: mmseg announces that with every loss it builds."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Default ``avg_non_ignore``")
        yield
