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
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipapps.clip import CLIPBackbone, Features, insert_contexts
from clipapps.clip.text_cache import VersionedCache
from clipapps.errors import ConfigError, did_you_mean
from clipapps.projects.denseclip.class_names import resolve_class_names
from clipapps.projects.denseclip.mmseg_parts import (
    BaseDecodeHead,
    BaseSegmentor,
    EncoderDecoder,
    SampleList,
    add_prefix,
)
from clipapps.projects.denseclip.preprocessing import CLIPSegPreprocessor
from clipapps.registry import MODELS

PROMPT_MODES = ("post", "pre", "language", "template")


@dataclass
class PixelTextFeatures:
    """What one pass computes in front of the neck.

    Args:
        levels: pyramid maps; channels of level `score_concat_index` end with the K score maps.
        score_map: cosine of every dense position with every class, (B, K, h, w) in -1..1.
        text_embeds: class embeddings the scores were computed with, (B, K, E).
        pooled: image embedding (B, E).
        dense: dense image embeddings (B, E, h, w).
    """

    levels: list[Tensor]
    score_map: Tensor
    text_embeds: Tensor
    pooled: Tensor
    dense: Tensor


@MODELS.register_module()
class CLIPSegmentor(EncoderDecoder):
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
        train_cfg, test_cfg, init_cfg: as in mmseg's EncoderDecoder; `test_cfg` chooses whole or sliding inference.

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
            decode_head = _filled_in(decode_head, "decode_head", num_classes=len(self.class_names))
        if neck is not None:
            self.neck = MODELS.build(_filled_in(neck, "neck", in_channels=self._level_channels()))
        with _without_loss_notice():
            self._init_decode_head(decode_head)
            self._init_auxiliary_head(auxiliary_head)

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
class DenseCLIPSegmentor(CLIPSegmentor):
    """Semantic segmentation guided by pixel-text score maps (DenseCLIP, section 3).

    The text tower stays as CLIP left it when the backbone's `trainable` is "image" (gradients reach the contexts
    through it); the released code lets it drift, see the README.

    Args:
        backbone, decode_head, class_names: see `CLIPSegmentor`; names may have any length that the text tower reads.
        context_decoder: config of a `ContextDecoder` (modes "post" and "pre"); `visual_dim` is filled in.
        identity_head: config of an `IdentityHead`, the auxiliary loss on the scores; None: no such loss.
        prompt_mode: "post": contexts in front of the names, embeddings refined by the image (the paper's choice);
            "pre": contexts computed from the image; "language": contexts alone; "template": a hand-written prompt.
        template: that prompt.
        num_contexts: learnable contexts N.
        context_std: their initial standard deviation (normal, cut at two standard deviations).
        name_length: least number of tokens L that a name is padded to; more are taken when a name is longer.
        gamma: initial weight of the context decoder's output.
        tau: temperature of the auxiliary loss.
        concat_over_tau: concatenate the scores divided by `tau`, as the released detectors do; its segmentors do not.
        score_concat_index: pyramid level that gets the score maps: the one that has the dense map's stride.
        **options: further arguments of `CLIPSegmentor`.

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
        context_decoder: Mapping[str, Any] | None = None,
        identity_head: Mapping[str, Any] | None = None,
        prompt_mode: str = "post",
        template: str = "a photo of a {}.",
        num_contexts: int = 8,
        context_std: float = 1.0,
        name_length: int = 5,
        gamma: float = 1e-4,
        tau: float = 0.07,
        concat_over_tau: bool = False,
        score_concat_index: int = 3,
        **options: Any,
    ) -> None:
        if prompt_mode not in PROMPT_MODES:
            raise ConfigError(f"model.prompt_mode {prompt_mode!r} is unknown.{did_you_mean(prompt_mode, PROMPT_MODES)} "
                              f"Choose one of {', '.join(PROMPT_MODES)}.")
        self.score_concat_index = score_concat_index
        super().__init__(backbone, decode_head, class_names, **options)
        self.prompt_mode, self.template, self.name_length = prompt_mode, template, name_length
        self.tau, self.concat_over_tau = tau, concat_over_tau
        embed_dim = self.backbone.embed_dim
        if prompt_mode != "template":
            self.contexts = nn.Parameter(torch.empty(1, num_contexts, self.backbone.text_width))
            nn.init.trunc_normal_(self.contexts, std=context_std, a=-2 * context_std, b=2 * context_std)
            self.set_token_ids(self._tokenize(self.class_names))
        if prompt_mode in ("post", "pre"):
            query_dim = embed_dim if prompt_mode == "post" else self.backbone.text_width
            self.context_decoder = MODELS.build({"visual_dim": embed_dim, "query_dim": query_dim,
                                                 **_required(context_decoder, "context_decoder", prompt_mode)})
        if prompt_mode == "post":
            self.gamma = nn.Parameter(torch.full((embed_dim,), gamma))
        self.identity_head: IdentityHead | None = None
        if identity_head is not None:
            self.identity_head = MODELS.build({"num_classes": self.num_classes, **identity_head})
        self._text_cache: VersionedCache[Tensor] = VersionedCache()

    # ---- the forward pass -------------------------------------------------------------------------------------

    def encode(self, images: Tensor) -> PixelTextFeatures:
        """Normalized images (B, 3, H, W) -> pyramid levels with score maps, and what these were computed from."""
        features = self.backbone(images)
        text_embeds = self.encode_names(visual_tokens(features))  # (B, K, E)
        score_map = pixel_text_scores(features.dense, text_embeds)  # (B, K, h, w)
        levels = list(features.levels if self.pyramid is None else self.pyramid(features.levels))
        index, guidance = self.score_concat_index, score_map / self.tau if self.concat_over_tau else score_map
        levels[index] = torch.cat([levels[index], guidance.to(levels[index].dtype)], dim=1)
        return PixelTextFeatures(levels, score_map, text_embeds, features.pooled, features.dense)

    def encode_names(self, visual: Tensor, names: Sequence[str] | None = None) -> Tensor:
        """Class embeddings (B, K, E) for visual tokens (B, 1 + hw, E), not normalized; `names` instead of the own."""
        if self.prompt_mode == "pre":
            contexts = self.context_decoder(self.contexts.expand(len(visual), -1, -1), visual)  # (B, N, W)
            return encode_with_contexts(self.backbone, self._ids(names), contexts)
        text = self.shared_text_embeddings(names).expand(len(visual), -1, -1)
        if self.prompt_mode == "post":
            text = text + self.gamma * self.context_decoder(text, visual)
        return text

    def shared_text_embeddings(self, names: Sequence[str] | None = None) -> Tensor:
        """Class embeddings (1, K, E) before they see an image.

        Remembered while gradients are off, until contexts, names, or text weights change.
        """
        if self.prompt_mode == "template":
            return self.backbone.encode_classes(names or self.class_names, (self.template,)).unsqueeze(0)
        ids = self._ids(names)
        if self.training or torch.is_grad_enabled():
            return encode_with_contexts(self.backbone, ids, self.contexts)
        return self._text_cache.get(names and tuple(names), [self.token_ids, self.contexts,
                                                             *self.backbone.text_parameters()],
                                    lambda: encode_with_contexts(self.backbone, ids, self.contexts))

    def score_names(self, images: Tensor, names: Sequence[str]) -> Tensor:
        """Score maps (B, K', h, w) in -1..1 of normalized images for any names; no decoder, no training needed."""
        features = self.backbone(images)
        return pixel_text_scores(features.dense, self.encode_names(visual_tokens(features), names))

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

    # ---- names ------------------------------------------------------------------------------------------------

    def set_token_ids(self, token_ids: Tensor) -> None:
        """Take these token ids (K, L) as the class names."""
        if len(token_ids) != self.num_classes:
            raise ConfigError(f"{len(token_ids)} class names for a head of {self.num_classes} classes.")
        self.register_buffer("token_ids", token_ids, persistent=False)

    def _ids(self, names: Sequence[str] | None) -> Tensor:
        return self.token_ids if names is None else self._tokenize(names).to(self.token_ids.device)

    def _tokenize(self, names: Sequence[str]) -> Tensor:
        """Token ids (K, L); L is `name_length`, or what the longest name needs."""
        counts = self.backbone.token_counts(names)
        available = self.backbone.context_length - self.contexts.shape[1]
        for name, count in zip(names, counts, strict=True):
            if count > available:
                raise ConfigError(f"The class name {name!r} has {count} tokens; the text tower reads "
                                  f"{self.backbone.context_length}, {self.contexts.shape[1]} of them contexts. Shorten "
                                  "the name or lower model.num_contexts.")
        return self.backbone.tokenize(names, max(min(self.name_length, available), *counts))

    def _level_channels(self) -> list[int]:
        channels = super()._level_channels()
        if not 0 <= self.score_concat_index < len(channels):
            raise ConfigError(f"model.score_concat_index is {self.score_concat_index}; the backbone has "
                              f"{len(channels)} levels.")
        channels[self.score_concat_index] += len(self.class_names)
        return channels

    def train(self, mode: bool = True) -> DenseCLIPSegmentor:
        """Switch between training and evaluation; remembered text embeddings are dropped."""
        self._text_cache = VersionedCache()
        return super().train(mode)


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


def visual_tokens(features: Features) -> Tensor:
    """The visual context [z0, z]: pooled embedding, then the dense ones row by row, (B, 1 + hw, E)."""
    return torch.cat([features.pooled.unsqueeze(1), features.dense.flatten(2).transpose(1, 2)], dim=1)


def pixel_text_scores(dense: Tensor, text_embeds: Tensor) -> Tensor:
    """Cosine similarity of every position with every class (DenseCLIP, equation 2), in float32 under autocast too.

    Args:
        dense: (B, E, h, w).
        text_embeds: (B, K, E).

    Returns:
        (B, K, h, w) in -1..1.
    """
    with torch.autocast(dense.device.type, enabled=False):
        pixels, names = F.normalize(dense.float(), dim=1), F.normalize(text_embeds.float(), dim=2)
        return torch.einsum("behw,bke->bkhw", pixels, names)


def encode_with_contexts(backbone: CLIPBackbone, token_ids: Tensor, contexts: Tensor,
                         pool_index: Tensor | None = None) -> Tensor:
    """Text embeddings of [start, contexts, name, end] (DenseCLIP, equation 1; CoOp).

    Args:
        backbone: CLIP with its text tower.
        token_ids: (K, L).
        contexts: (B, N, W); B = 1 for contexts that all images share.
        pool_index: (K,) positions of the end tokens in `token_ids`; None: found by the backbone.

    Returns:
        (B, K, E), not normalized.
    """
    index = backbone.pool_index(token_ids) if pool_index is None else pool_index
    embeds, index = insert_contexts(backbone.embed_tokens(token_ids), contexts[:, None], index)  # (B, K, N + L, W)
    encoded = backbone.encode_text_embeddings(embeds.flatten(0, 1), index.flatten())
    return encoded.unflatten(0, (len(contexts), len(token_ids)))


@contextmanager
def _without_loss_notice() -> Iterator[None]:
    """The mean runs over ignored pixels, too, as published: mmseg announces that with every loss it builds."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Default ``avg_non_ignore``")
        yield


def _filled_in(config: Mapping[str, Any], where: str, **derived: Any) -> dict[str, Any]:
    """The config with derived arguments; one that is given and disagrees is refused."""
    for key, value in derived.items():
        if key in config and config[key] != value:
            raise ConfigError(f"model.{where}.{key} is {config[key]}, but backbone and class names give {value}. "
                              "Leave it out; it is filled in.")
    return {**config, **derived}


def _required(config: Mapping[str, Any] | None, where: str, mode: str) -> Mapping[str, Any]:
    if config is None:
        raise ConfigError(f"model.prompt_mode {mode!r} needs model.{where}.")
    return config
