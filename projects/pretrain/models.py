"""Contrastive image-text pre-training (CLIP, arXiv 2103.00020, section 2.3 and figure 3) on the shared backbone."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from mmengine.model import BaseModel
from torch import Tensor
from torch.distributed.nn.functional import all_gather

from clipapps.clip import CLIPBackbone, Features
from clipapps.registry import MODELS

from .probes import TOY_PROBES

MAX_LOGIT_SCALE = 100.0
Probes = Mapping[str, Mapping[str, Sequence[Any]]]


def contrastive_loss(image_embeds: Tensor, text_embeds: Tensor, logit_scale: Tensor | float, meaning: Tensor) -> Tensor:
    """Symmetric InfoNCE with every pair of equal meaning as a positive.

    The target of a row is uniform over its positives, so with all meanings different this is CLIP's loss.

    Args:
        image_embeds: (B, D) L2-normalized; text_embeds: (B, D) L2-normalized.
        logit_scale: factor on the cosine similarities.
        meaning: (B,) integers; equal ones mean that the captions say the same.

    Returns:
        The mean over both directions, a scalar.
    """
    logits = logit_scale * image_embeds @ text_embeds.t()  # (B, B)
    positive = (meaning[:, None] == meaning[None, :]).to(logits.dtype)
    target = positive / positive.sum(dim=1, keepdim=True)  # symmetric, so it serves both directions
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.t(), target)) / 2


def text_number(text: str) -> int:
    """A 63-bit number of a text, the same in every process, so that equal captions of two processes stay equal."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def gather_batch(tensor: Tensor) -> Tensor:
    """(B, ...) of this process -> (W * B, ...) of all W processes, through which gradients flow back to each.

    Every process then computes the loss of the whole batch, and the averaged gradients equal those of one process
    that holds it alone. The identity without distributed training.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return tensor
    return torch.cat(all_gather(tensor.contiguous()))


@MODELS.register_module()
class ContrastivePretrainer(BaseModel):
    """Trains both towers of a CLIPBackbone so that pictures and their captions meet in the joint space.

    Args:
        backbone: a CLIPBackbone or its config.
        probes: what zero-shot evaluation asks: attribute -> dict(names=(...), templates=(...)), or dict(names, texts)
            with the whole texts of each name. The order of the names is the order of the attribute's values; "dense"
            is asked of every position of scenes with masks. None: the toy world's, `probes.TOY_PROBES`.
        precision: "float32" or "bfloat16" (autocast of the image tower; twice as fast on CPUs that have it).
        channels_last: memory layout of the image tower; faster for convolutions on CPUs.

    >>> model = ContrastivePretrainer(dict(type=CLIPBackbone, arch="tiny-rn"))
    >>> images = torch.randint(0, 255, (2, 3, 64, 64), dtype=torch.uint8)
    >>> model(images, ["a red star", "a cup"], torch.tensor([1, 2]), mode="loss")["loss"].ndim
    0
    """

    def __init__(self, backbone: CLIPBackbone | dict[str, Any], probes: Probes | None = None,
                 precision: str = "float32", channels_last: bool = False,
                 init_cfg: dict[str, Any] | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.backbone: CLIPBackbone = MODELS.build(backbone) if isinstance(backbone, dict) else backbone
        self.probes = dict(TOY_PROBES if probes is None else probes)
        self.dtype = getattr(torch, precision)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.backbone.model.visual.to(memory_format=self.memory_format)

    def forward(self, inputs: Tensor, caption: Sequence[str], meaning: Tensor | None = None, mode: str = "tensor",
                **sample: Any) -> Any:
        """Embeddings, the loss, or predictions, as mmengine asks.

        Args:
            inputs: (B, 3, H, W) uint8 RGB. caption: B texts.
            meaning: (B,) see `contrastive_loss`; None: texts mean the same when they are equal.
            mode: "tensor" -> (image (B, D), text (B, D)), normalized; "loss" -> dict(loss, logit_scale, accuracy);
                "predict" -> one dict per sample, see `predict`.
        """
        if meaning is None:
            meaning = torch.tensor([text_number(text) for text in caption], device=inputs.device)
        if mode == "predict":
            return self.predict(inputs, caption, meaning, **sample)
        if mode == "loss":
            return self.loss(inputs, caption, meaning)
        image_embeds = F.normalize(self.encode_images(inputs, dense=None).pooled.float(), dim=-1)
        return image_embeds, self.encode_captions(caption)

    def loss(self, inputs: Tensor, caption: Sequence[str], meaning: Tensor) -> dict[str, Tensor]:
        """The contrastive loss of a batch, beside it the temperature and the share of pictures that find their text."""
        self.clamp_logit_scale()
        return self.contrast(self.encode_images(inputs, dense=None).pooled, caption, meaning)

    def contrast(self, pooled: Tensor | None, caption: Sequence[str], meaning: Tensor) -> dict[str, Tensor]:
        """`loss` of image embeddings (B, D) that are there already."""
        assert pooled is not None  # the constructor's backbone has its pool
        image_embeds, text_embeds = F.normalize(pooled.float(), dim=-1), self.encode_captions(caption)
        scale = self.backbone.logit_scale()
        image_embeds, text_embeds, meaning = map(gather_batch, (image_embeds, text_embeds, meaning))
        with torch.no_grad():
            best = (image_embeds @ text_embeds.t()).argmax(dim=1)
            hits = (meaning[best] == meaning).float().mean()
        loss = contrastive_loss(image_embeds, text_embeds, scale, meaning)
        return dict(loss=loss, logit_scale=scale.detach(), accuracy=hits)

    def encode_images(self, inputs: Tensor, dense: str | None, backbone: CLIPBackbone | None = None) -> Features:
        """(B, 3, H, W) uint8 RGB -> Features of the backbone that is trained, or of another."""
        backbone = backbone or self.backbone
        images = backbone.normalize(inputs.float() / 255).contiguous(memory_format=self.memory_format)
        with torch.autocast(inputs.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32):
            return backbone(images, dense=dense)

    def encode_captions(self, captions: Sequence[str]) -> Tensor:
        """Texts -> (B, D), normalized; the batch is cut to its longest text, which halves the text tower's work."""
        ids = self.backbone.tokenize(list(captions))
        ids = ids[:, : int(self.backbone.pool_index(ids).max()) + 1]
        return self.backbone.encode_text(ids, normalize=True)

    @torch.no_grad()
    def clamp_logit_scale(self) -> None:
        """Keeps the learned scale at 100 at most (CLIP, section 2.5)."""
        self.backbone.model.logit_scale.clamp_(max=math.log(MAX_LOGIT_SCALE))

    def predict(self, inputs: Tensor, caption: Sequence[str], meaning: Tensor, attributes: Mapping[str, Tensor],
                sample_idx: Tensor, semantic: Tensor | None = None) -> list[dict[str, Any]]:
        """One dict per sample for `metrics.ToyZeroShotMetric`: embeddings, best answer per probe, dense class map."""
        features = self.encode_images(inputs, dense="projected")
        image_embeds = F.normalize(features.pooled.float(), dim=-1)
        text_embeds = self.encode_captions(caption)
        asked = [name for name in self.probes if name != "dense"]
        answers = {name: (image_embeds @ self._probe(name).t()).argmax(dim=1) for name in asked}
        dense = None
        if semantic is not None and "dense" in self.probes:
            dense = self._dense_answers(features.dense.float(), semantic)
        samples = []
        for i in range(len(inputs)):
            sample = dict(sample_idx=int(sample_idx[i]), meaning=int(meaning[i]),
                          image_embed=image_embeds[i], text_embed=text_embeds[i],
                          answers={name: int(answer[i]) for name, answer in answers.items()},
                          attributes={name: int(value[i]) for name, value in attributes.items()})
            if dense is not None and semantic is not None:
                sample |= dict(dense=dense[i], semantic=semantic[i])
            samples.append(sample)
        return samples

    def _probe(self, name: str) -> Tensor:
        """(K, D) normalized text embeddings of a probe."""
        probe = self.probes[name]
        if "texts" in probe:
            texts = [text for group in probe["texts"] for text in group]
            groups = self.backbone.encode_text(texts, normalize=True).unflatten(0, (len(probe["texts"]), -1))
            return F.normalize(groups.mean(dim=1), dim=-1)
        return self.backbone.encode_classes(list(probe["names"]), tuple(probe["templates"]))

    def _dense_answers(self, dense: Tensor, semantic: Tensor) -> Tensor:
        """(B, D, h, w) -> scores of the "dense" probe at mask size, (B, K, H, W)."""
        scores = torch.einsum("bdhw,kd->bkhw", F.normalize(dense, dim=1), self._probe("dense"))
        return F.interpolate(scores, size=semantic.shape[-2:], mode="bilinear", align_corners=False)
