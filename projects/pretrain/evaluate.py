"""Zero-shot figures of CLIP weights on unseen toy scenes: the numbers in MODEL_CARD.md.

    python -m clipapps.projects.pretrain.evaluate builtin
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence

import torch
from mmengine.dataset import default_collate

from clipapps.clip import CLIPBackbone
from clipapps.engine.config import load_config
from clipapps.registry import DATASETS
from clipapps.toyworld import ATTRIBUTES, ToyWorldScenes

from .metrics import ToyZeroShotMetric
from .models import ContrastivePretrainer

CONFIG = "pretrain/clip_rn_tiny_toyworld"


@torch.no_grad()
def predictions(backbone: CLIPBackbone, dataset: ToyWorldScenes, batch_size: int = 50) -> Iterator[list[dict]]:
    """What `ContrastivePretrainer.predict` says of a data set, batch by batch, in float32."""
    model = ContrastivePretrainer(backbone).eval()
    for start in range(0, len(dataset), batch_size):
        batch = default_collate([dataset[i] for i in range(start, min(start + batch_size, len(dataset)))])
        yield model(**batch, mode="predict")


def evaluate(backbone: CLIPBackbone, dataset: ToyWorldScenes, by: Sequence[str] = ()) -> dict[str, float]:
    """All figures of `ToyZeroShotMetric`; for every attribute in `by` also category accuracy at each of its values.

    >>> scenes = ToyWorldScenes(num_scenes=2, size=64, split="test")
    >>> sorted(evaluate(CLIPBackbone("tiny-rn").eval(), scenes, by=["lighting"]))[:3]
    ['background_acc', 'background_mode', 'category_acc']
    """
    metric = ToyZeroShotMetric()
    for samples in predictions(backbone, dataset):
        metric.process(None, samples)
    figures = metric.compute_metrics(metric.results)
    single = [r for r in metric.results if r["attributes"]["count"] == 1]
    for name in by:
        for index, value in enumerate(ATTRIBUTES[name]):
            hits = [r["answers"]["category"] == r["attributes"]["category"] for r in single
                    if r["attributes"][name] == index]
            if hits:
                figures[f"category_acc[{name}={value}]"] = sum(hits) / len(hits)
    return figures


def main() -> None:
    """Command line of this module: prints the figures on the test split as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", help='"builtin", or a file of `export`')
    parser.add_argument("--arch", default="tiny-rn")
    args = parser.parse_args()
    dataset = DATASETS.build(load_config(CONFIG).test_dataloader.dataset)
    backbone = CLIPBackbone.from_pretrained(args.arch, args.weights)
    print(json.dumps(evaluate(backbone, dataset, by=("size", "lighting", "background", "category")), indent=2))


if __name__ == "__main__":
    main()
