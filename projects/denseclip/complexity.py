"""Parameters and multiply-accumulates of a segmentor or detector, counted the way the paper's tables were.

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
from clipapps.projects.denseclip.detection.models import CLIPDetector, CLIPMaskRCNN
from clipapps.projects.denseclip.guidance import LanguageGuidance
from clipapps.registry import MODELS

TABLE_SIZE = (1024, 1024)  # what the published segmentation figures were counted at, whatever the crop size
DETECTION_TABLE_SIZE = (1280, 800)
HEADS = ("decode_head", "bbox_head", "rpn_head", "roi_head")
BOX_REGIONS, MASK_REGIONS = 1000, 100  # of a Mask R-CNN: the published count went through that many dummy regions


@dataclass
class Complexity:
    """Costs of one forward pass on one image, the text tower left out (its output is a constant at inference).

    Args:
        parameters: number of parameters of each part and of all together ("total"); "text" stands apart.
        macs: multiply-accumulates of each part, of "rest" and of all together, in units of 1.
    """

    parameters: dict[str, int]
    macs: dict[str, float]


def measure(model: nn.Module, size: tuple[int, int] | None = None) -> Complexity:
    """Count one image of this size (H, W; None: that of the paper's table) in eval mode with fvcore.

    The model may be on the meta device. Of a detector suppression and the alignment of regions are not counted.
    """
    from fvcore.nn import FlopCountAnalysis

    if size is None:
        size = DETECTION_TABLE_SIZE if isinstance(model, CLIPDetector) else TABLE_SIZE
    network = _WithoutText(model).eval()
    images = torch.zeros(1, 3, *size, device=next(model.parameters()).device)
    analysis = FlopCountAnalysis(network, images).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    analysis.set_op_handle("aten::scaled_dot_product_attention", _attention_macs)
    modules = analysis.by_module()
    parts = {"backbone": ("backbone", "pyramid"), "context decoder": ("context_decoder",), "neck": ("neck",),
             "head": HEADS}
    macs = {part: sum(float(modules.get(f"model.{name}", 0.0)) for name in names) for part, names in parts.items()
            if any(hasattr(model, name) for name in names)}
    macs["rest"] = float(analysis.total()) - sum(macs.values())
    macs["total"] = float(analysis.total())
    return Complexity(count_parameters(model), macs)


def count_parameters(model: nn.Module) -> dict[str, int]:
    """Parameters of each part of a segmentor or detector; the unused temperature is counted nowhere, the text tower
    only in "text".
    """
    text = model.backbone.text_parameters() if isinstance(model, LanguageGuidance) else []
    of_text = {id(parameter) for parameter in text}
    groups = {"backbone": "backbone", "pyramid": "backbone", "context_decoder": "context decoder", "neck": "neck",
              **dict.fromkeys(HEADS, "head"), "contexts": "contexts and gamma", "gamma": "contexts and gamma"}
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

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        if isinstance(model, LanguageGuidance):
            reference = next(model.parameters())
            constant = reference.new_zeros(1, len(model.class_names), model.backbone.embed_dim)
            model.shared_text_embeddings = lambda names=None: constant

    def forward(self, images: Tensor) -> Any:
        if isinstance(self.model, CLIPDetector):
            return _raw_outputs(self.model, self.model.extract_feat(images))
        logits = self.model.decode_head(self.model.extract_feat(images))
        return F.interpolate(logits, size=images.shape[2:], mode="bilinear", align_corners=False)


def _raw_outputs(model: CLIPDetector, maps: Any) -> Any:
    """Everything that a detector's layers compute, nothing that follows from it."""
    if not isinstance(model, CLIPMaskRCNN):
        return model.bbox_head.forward_maps(maps)
    head, channels = model.roi_head, maps[0].shape[1]
    boxes = maps[0].new_zeros(BOX_REGIONS, channels, head.box_align.size, head.box_align.size)
    masks = maps[0].new_zeros(MASK_REGIONS, channels, head.mask_align.size, head.mask_align.size)
    return model.rpn_head.forward_maps(maps), head.bbox_head(boxes), head.mask_head(masks)


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
