"""Parameters and multiply-accumulates of a segmentor, counted the way the paper's tables were.

    python -m clipapps.projects.denseclip.complexity denseclip/denseclip_fpn_rn50_80k_ade20k_512
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from clipapps.engine.config import load_config
from clipapps.projects.denseclip.models import CLIPSegmentor, DenseCLIPSegmentor
from clipapps.registry import MODELS

TABLE_SIZE = (1024, 1024)  # what the published segmentation figures were counted at, whatever the crop size


@dataclass
class Complexity:
    """Costs of one forward pass on one image, the text tower left out (its output is a constant at inference).

    Args:
        parameters: number of parameters of each part and of all together ("total"); "text" stands apart.
        macs: multiply-accumulates of each part, of "rest" and of all together, in units of 1.
    """

    parameters: dict[str, int]
    macs: dict[str, float]


def measure(model: CLIPSegmentor, size: tuple[int, int] = TABLE_SIZE) -> Complexity:
    """Count one image of this size (H, W) in eval mode with fvcore; the model may be on the meta device."""
    from fvcore.nn import FlopCountAnalysis

    network = _WithoutText(model).eval()
    images = torch.zeros(1, 3, *size, device=next(model.parameters()).device)
    analysis = FlopCountAnalysis(network, images).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    analysis.set_op_handle("aten::scaled_dot_product_attention", _attention_macs)
    modules = analysis.by_module()
    parts = {"backbone": "backbone", "context decoder": "context_decoder", "neck": "neck", "head": "decode_head"}
    macs = {name: float(modules[f"model.{module}"]) for name, module in parts.items() if hasattr(model, module)}
    macs["backbone"] += float(modules.get("model.pyramid", 0.0))
    macs["rest"] = float(analysis.total()) - sum(macs.values())
    macs["total"] = float(analysis.total())
    return Complexity(count_parameters(model), macs)


def count_parameters(model: CLIPSegmentor) -> dict[str, int]:
    """Parameters of each part; the unused temperature is counted nowhere, the text tower only in "text"."""
    text = model.backbone.text_parameters() if isinstance(model, DenseCLIPSegmentor) else []
    of_text = {id(parameter) for parameter in text}
    groups = {"backbone": "backbone", "pyramid": "backbone", "context_decoder": "context decoder", "neck": "neck",
              "decode_head": "head", "contexts": "contexts and gamma", "gamma": "contexts and gamma"}
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        if id(parameter) not in of_text and not name.endswith("logit_scale"):
            part = groups[name.partition(".")[0]]
            counts[part] = counts.get(part, 0) + parameter.numel()
    counts["total"] = sum(counts.values())
    counts["text"] = sum(parameter.numel() for parameter in text)
    return counts


class _WithoutText(nn.Module):
    """The whole prediction with the text embeddings as a constant."""

    def __init__(self, model: CLIPSegmentor) -> None:
        super().__init__()
        self.model = model
        if isinstance(model, DenseCLIPSegmentor):
            reference = next(model.parameters())
            constant = reference.new_zeros(1, len(model.class_names), model.backbone.embed_dim)
            model.shared_text_embeddings = lambda names=None: constant

    def forward(self, images: Tensor) -> Tensor:
        logits = self.model.decode_head(self.model.extract_feat(images))
        return F.interpolate(logits, size=images.shape[2:], mode="bilinear", align_corners=False)


def _attention_macs(inputs: list[Any], outputs: list[Any]) -> float:
    """Queries (b.., n, d) against keys (b.., m, d), then values (b.., m, e): b n m (d + e)."""
    query, key, value = (item.type().sizes() for item in inputs[:3])
    batch = 1
    for side in query[:-2]:
        batch *= side
    return float(batch * query[-2] * key[-2] * (query[-1] + value[-1]))


def main() -> None:
    """Print the table of the configs named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configs", nargs="+", metavar="CONFIG")
    for config in parser.parse_args().configs:
        init_default_scope("clipapps")
        cfg = load_config(config, ["model.backbone.weights=None"])
        costs = measure(MODELS.build(cfg.model))
        print(config)
        for part, count in costs.parameters.items():
            print(f"  {part:20} {count:12,} parameters")
        for part, macs in costs.macs.items():
            print(f"  {part:20} {macs / 1e9:12.2f} GMACs")


if __name__ == "__main__":
    main()
