"""Language guidance: what DenseCLIP puts between a CLIP backbone and any dense head (arXiv 2112.01518, section 3).

Segmentors and detectors inherit it; see `models` for the data flow. Letters: B images, K classes, E joint embedding
size, W text width, L tokens of a name, N contexts, h x w dense grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipapps.clip import CLIPBackbone, Features, insert_contexts
from clipapps.clip.text_cache import VersionedCache
from clipapps.errors import ConfigError, did_you_mean
from clipapps.projects.denseclip.derived import required
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


class LanguageGuidance(nn.Module):
    """Pixel-text score maps and context-aware prompts for a model that owns a CLIP backbone (DenseCLIP, section 3).

    A base beside the model's own one, named first: `class DenseCLIPSegmentor(LanguageGuidance, CLIPSegmentor)`. The
    other base sets `backbone`, `class_names`, `num_classes` and `pyramid`, and asks `_level_channels` for the widths
    of the pyramid. The text tower stays as CLIP left it when the backbone's `trainable` is "image" (gradients reach
    the contexts through it); the released code lets it drift, see the README.

    Args:
        context_decoder: config of a `ContextDecoder` (modes "post" and "pre"); `visual_dim` is filled in.
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
        **options: arguments of the other base.

    >>> from clipapps.engine.config import load_config
    >>> config = load_config("denseclip/denseclip_fpn_tiny_toyworld", ["model.backbone.weights=None"])
    >>> model = MODELS.build(config.model).eval()
    >>> model.score_names(torch.rand(1, 3, 64, 96), ["a red star", "grass"]).shape
    torch.Size([1, 2, 2, 3])
    """

    backbone: CLIPBackbone
    class_names: tuple[str, ...]
    num_classes: int
    pyramid: nn.Module | None
    token_ids: Tensor

    def __init__(
        self,
        *,
        context_decoder: Mapping[str, Any] | None = None,
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
        super().__init__(**options)
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
                                                 **required(context_decoder, "context_decoder", prompt_mode)})
        if prompt_mode == "post":
            self.gamma = nn.Parameter(torch.full((embed_dim,), gamma))
        self._forget_text()

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
            contexts = self.context_decoder(self.contexts.expand(visual.shape[0], -1, -1), visual)  # (B, N, W)
            return encode_with_contexts(self.backbone, self._ids(names), contexts)
        text = self.shared_text_embeddings(names).expand(visual.shape[0], -1, -1)
        if self.prompt_mode == "post":
            text = text + self.gamma * self.context_decoder(text, visual)
        return text

    def shared_text_embeddings(self, names: Sequence[str] | None = None) -> Tensor:
        """Class embeddings (1, K, E) before they see an image.

        Remembered while gradients are off, until contexts, names, or text weights change.
        """
        if self.training or torch.is_grad_enabled():
            return self._encode_shared(names)
        tensors: list[Tensor] = [*self.backbone.text_parameters()]
        if self.prompt_mode != "template":
            tensors += [self.token_ids, self.contexts]
        cache = self._text_cache if names is None else self._vocabulary_cache
        return cache.get(names and tuple(names), tensors, lambda: self._encode_shared(names))

    def _encode_shared(self, names: Sequence[str] | None) -> Tensor:
        if self.prompt_mode == "template":
            return self.backbone.encode_classes(names or self.class_names, (self.template,)).unsqueeze(0)
        return encode_with_contexts(self.backbone, self._ids(names), self.contexts)

    def score_names(self, images: Tensor, names: Sequence[str]) -> Tensor:
        """Score maps (B, K', h, w) in -1..1 of normalized images for any names; no decoder, no training needed."""
        features = self.backbone(images)
        return pixel_text_scores(features.dense, self.encode_names(visual_tokens(features), names))

    # ---- names ------------------------------------------------------------------------------------------------

    def set_token_ids(self, token_ids: Tensor) -> None:
        """Take these token ids (K, L) as the class names."""
        if len(token_ids) != self.num_classes:
            raise ConfigError(f"{len(token_ids)} class names for a head of {self.num_classes} classes.")
        self.register_buffer("token_ids", token_ids, persistent=False)

    def _ids(self, names: Sequence[str] | None) -> Tensor:
        return self.token_ids if names is None else self._tokenize(names).to(self.token_ids.device)

    def _tokenize(self, names: Sequence[str]) -> Tensor:
        """Token ids (K, L); L is `name_length`, or what the longest name needs.

        A text tower without causal mask sees its padding, so it gets the length that it was trained with.
        """
        if not _is_causal(self.backbone):
            return self.backbone.tokenize(names, self.backbone.context_length - self.contexts.shape[1])
        counts = self.backbone.token_counts(names)
        available = self.backbone.context_length - self.contexts.shape[1]
        for name, count in zip(names, counts, strict=True):
            if count > available:
                raise ConfigError(f"The class name {name!r} has {count} tokens; the text tower reads "
                                  f"{self.backbone.context_length}, {self.contexts.shape[1]} of them contexts. Shorten "
                                  "the name or lower model.num_contexts.")
        return self.backbone.tokenize(names, max(min(self.name_length, available), *counts))

    def _level_channels(self) -> list[int]:
        channels = list(self.backbone.out_channels)
        if not 0 <= self.score_concat_index < len(channels):
            raise ConfigError(f"model.score_concat_index is {self.score_concat_index}; the backbone has "
                              f"{len(channels)} levels.")
        channels[self.score_concat_index] += len(self.class_names)
        return channels

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation; remembered text embeddings are dropped."""
        self._forget_text()
        return super().train(mode)

    def _forget_text(self) -> None:
        self._text_cache: VersionedCache[Tensor] = VersionedCache()  # of the own names
        self._vocabulary_cache: VersionedCache[Tensor] = VersionedCache()  # of others: both may serve one image


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

    Text towers without causal mask (SigLIP) have no start token: contexts are first there.

    Args:
        backbone: CLIP with its text tower.
        token_ids: (K, L).
        contexts: (B, N, W); B = 1 for contexts that all images share.
        pool_index: (K,) positions of the end tokens in `token_ids`; None: found by the backbone.

    Returns:
        (B, K, E), not normalized.
    """
    index = backbone.pool_index(token_ids) if pool_index is None else pool_index
    embeds = backbone.embed_tokens(token_ids)
    if _is_causal(backbone):
        embeds, index = insert_contexts(embeds, contexts[:, None], index)  # (B, K, N + L, W), (B, K)
    else:
        lead, num = (len(contexts), len(token_ids), -1, -1), contexts.shape[1]
        embeds = torch.cat([contexts[:, None].expand(lead), embeds.expand(lead)], dim=2)
        index = (index + num).expand(lead[:2])
    encoded = backbone.encode_text_embeddings(embeds.flatten(0, 1), index.flatten())
    return encoded.unflatten(0, (len(contexts), len(token_ids)))


def _is_causal(backbone: CLIPBackbone) -> bool:
    return not backbone.arch_config["text_cfg"].get("no_causal_mask", False)
