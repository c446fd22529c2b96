"""Parameters and multiply-accumulates of a video classifier, counted the way the paper's tables were.

    python -m clipapps.projects.ila.complexity ila/ila_vit_b32_8f_k400
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from clipapps.engine.config import load_config
from clipapps.projects.ila.convert import build_empty
from clipapps.projects.ila.heads import TextHead
from clipapps.projects.ila.models import ILAClassifier


@dataclass
class Complexity:
    """Costs of one view of one video in inference, the text tower left out (its output is a constant then).

    Args:
        parameters: "clip" (the image tower), "alignment", "integration" (with a linear head), "prompts", "text", and
            "trained": those that the recipe optimizes.
        macs: multiply-accumulates of "clip", "alignment", "integration", "prompts" (the head), "rest", and "total".
    """

    parameters: dict[str, int]
    macs: dict[str, float]


def measure(model: ILAClassifier) -> Complexity:
    """Count one view at the model's own size; the model may be on the meta device, and is not fit for use after it."""
    network = _Inference(model).eval()
    for parameter in network.parameters():
        parameter.requires_grad_(True)  # else torch takes a fused path through attention that nobody can count
    device = next(model.parameters()).device
    clip = torch.zeros(1, model.num_frames, 3, *model.backbone.native_size, device=device)
    counter = FlopCounterMode(display=False)
    with counter:
        network(clip)
    # It counts a multiplication and an addition as two.
    counted = {name: sum(counts.values()) / 2 for name, counts in counter.get_flop_counts().items()}
    prefix = f"{type(network).__name__}.model"
    alignment = sum(counted.get(f"{prefix}.inserts.{index}", 0.0) for index in range(len(model.inserts or ())))
    macs = {"clip": counted.get(f"{prefix}.backbone", 0.0) - alignment, "alignment": alignment,
            "integration": counted.get(f"{prefix}.mit", 0.0), "prompts": counted.get(f"{prefix}.head", 0.0)}
    macs["rest"] = counted["Global"] - sum(macs.values())
    return Complexity(network.parameters_by_part, {**macs, "total": counted["Global"]})


def count_parameters(model: ILAClassifier) -> dict[str, int]:
    """Parameters by part, and of all that the recipe optimizes."""
    counts = dict.fromkeys(("clip", "alignment", "integration", "prompts", "text"), 0)
    for name, parameter in model.named_parameters():
        counts[_part_of(name)] += parameter.numel()
    return {**counts, "trained": sum(p.numel() for p in model.parameters() if p.requires_grad)}


def _part_of(name: str) -> str:
    if name.startswith("backbone."):
        return "clip" if ".visual." in name else "text"
    if name.startswith("inserts."):
        return "alignment"
    return "prompts" if name.startswith("head.prompts_") else "integration"


class _Inference(nn.Module):
    """The whole prediction with everything constant that inference computes once: text embeddings, folded layers."""

    def __init__(self, model: ILAClassifier) -> None:
        super().__init__()
        self.model: Any = model
        self.parameters_by_part = count_parameters(model)
        reference = next(model.parameters())
        for insert in model.inserts or ():
            folded = reference.new_zeros(model.width, insert.message_attn.fc.in_features + 1)
            insert._folded_weight = lambda folded=folded: folded
        if isinstance(model.head, TextHead):
            constant = reference.new_zeros(model.num_classes, model.backbone.embed_dim)
            model.head.embed_names = lambda backbone: constant

    def forward(self, clips: Tensor) -> Tensor:
        return self.model(clips)


def main() -> None:
    """Print the table of the configs named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configs", nargs="+", metavar="CONFIG")
    for config in parser.parse_args().configs:
        costs = measure(build_empty(load_config(config)))
        print(config)
        for part, count in costs.parameters.items():
            print(f"  {part:12} {count / 1e6:10.2f} million parameters")
        for part, macs in costs.macs.items():
            print(f"  {part:12} {macs / 1e9:10.2f} GMACs")


if __name__ == "__main__":
    main()
