"""Cost of our walk over open_clip's plain forward: `python benchmarks/backbone.py`. Goal: at most 10 % (medians).

Both forwards run in turn in one process on the same weights, so that a change of the machine's speed hits both; the
figure is the median of the ratios, pair by pair. Peak memory is what the process gained over the model itself.
"""

from __future__ import annotations

import argparse
import resource

import torch
from measure import machine, paired

from clipapps import CLIPBackbone

ARCHS = ("ViT-B-16", "RN50", "tiny-rn")
BATCHES = (1, 8)


def compare(arch: str, batch: int, dense: str | None, pairs: int) -> tuple[float, float, float]:
    """Median seconds of plain open_clip and of ours, and the median ratio."""
    backbone = CLIPBackbone(arch, dense=dense).eval()
    images = torch.randn(batch, 3, *backbone.native_size)

    def plain() -> object:
        return backbone.model.encode_image(images)

    def ours() -> object:
        return backbone(images)

    with torch.inference_mode():
        return paired(plain, ours, pairs)


def main() -> None:
    """Print one line for each architecture, batch, and kind of output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--archs", nargs="+", default=list(ARCHS))
    args = parser.parse_args()
    print(f"{machine()}, {args.pairs} pairs")
    print(f"{'model':10} {'batch':>5} {'output':>10} {'open_clip':>10} {'ours':>10} {'ratio':>6}")
    for arch in args.archs:
        for batch in BATCHES:
            for dense in (None, "projected"):
                plain, our, ratio = compare(arch, batch, dense, args.pairs)
                print(f"{arch:10} {batch:5} {dense or 'pooled':>10} {plain:9.3f}s {our:9.3f}s {ratio:6.3f}", flush=True)
    print(f"peak memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
