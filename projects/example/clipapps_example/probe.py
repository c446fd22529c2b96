"""The method: one linear layer on CLIP's pooled embedding (CLIP, section 3.2), and its accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from torch import Tensor, nn

from clipapps.registry import METRICS, MODELS


@MODELS.register_module()
class ExampleLinearProbe(BaseModel):
    """Predicts one attribute of a picture from the frozen backbone's embedding.

    Args:
        backbone: config of a `CLIPBackbone` with `trainable="none"`.
        attribute: key of the samples' `attributes`, whose values are class indices.
        num_classes: how many values it has.
    """

    def __init__(self, backbone: Mapping[str, Any], attribute: str, num_classes: int) -> None:
        super().__init__()
        self.backbone = MODELS.build(backbone)
        self.attribute = attribute
        self.head = nn.Linear(self.backbone.embed_dim, num_classes)

    def forward(self, inputs: Tensor, attributes: Mapping[str, Tensor], mode: str = "tensor", **_: Any) -> Any:
        """Pictures (B, 3, H, W) uint8 RGB -> logits (B, K), a loss, or one dict a picture."""
        self.backbone.eval()
        with torch.no_grad():
            embeds = self.backbone(self.backbone.normalize(inputs.float() / 255), dense=None).pooled
        logits, labels = self.head(F.normalize(embeds, dim=-1) * 10), attributes[self.attribute]
        if mode == "loss":
            return {"loss": F.cross_entropy(logits, labels)}
        if mode == "predict":
            return [{"hit": bool(hit)} for hit in logits.argmax(dim=-1) == labels]
        return logits


@METRICS.register_module()
class ExampleAccuracy(BaseMetric):
    """Share of right answers, 0..1."""

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, bool]]) -> None:
        """Collect the hits of a batch."""
        self.results += [sample["hit"] for sample in data_samples]

    def compute_metrics(self, results: list[bool]) -> dict[str, float]:
        """All hits -> accuracy."""
        return {"accuracy": sum(results) / len(results)}
