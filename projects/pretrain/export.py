"""From a training checkpoint to the small file that ships: fp16, and only the token rows that training touched.

    python -m clipapps.projects.pretrain.export work_dirs/clip_rn_tiny_toyworld_refine/iter_500.pth tiny-rn.safetensors
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from clipapps.clip import CLIPBackbone
from clipapps.engine import checkpoint
from clipapps.errors import WeightsError
from clipapps.toyworld import known_words

FORMAT = "clipapps-clip/1"
_PREFIX = "backbone.model."
_TABLE = "token_embedding.weight"


def token_rows(backbone: CLIPBackbone, words: Iterable[str]) -> Tensor:
    """Sorted ids of all tokens that captions made of these words and of punctuation contain, (n,) int32."""
    ids: set[int] = set()
    for text in [*words, ".", ",", "a, b.", "-"]:
        row = backbone.tokenize([text])
        ids |= set(row[0, : int(backbone.pool_index(row)[0]) + 1].tolist())
    return torch.tensor(sorted(ids), dtype=torch.int32)


def shrink(state: Mapping[str, Tensor], ids: Tensor) -> dict[str, Tensor]:
    """open_clip tensors in fp16, the token table replaced by `token_embedding.rows` (n, W) and `.ids` (n,).

    Counters of batch norm are dropped; nothing uses them.

    Raises:
        WeightsError: a value that fp16 cannot hold.
    """
    small: dict[str, Tensor] = {"token_embedding.ids": ids, "token_embedding.rows": state[_TABLE][ids.long()].half()}
    for name, value in state.items():
        if name == _TABLE or name.endswith(("num_batches_tracked", "attn_mask")):
            continue
        small[name] = value.half() if value.is_floating_point() else value
    broken = [name for name, value in small.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise WeightsError(f"These tensors do not fit fp16: {', '.join(broken)}.")
    return small


def export(source: str | Path, target: str | Path, arch: str = "tiny-rn", note: str = "") -> None:
    """Writes the shippable file of a pre-training checkpoint.

    Args:
        source: a checkpoint of a `ContrastivePretrainer`; target: the safetensors file to write.
        arch: the backbone's architecture; note: how the weights were made, kept in the file's metadata.

    Raises:
        WeightsError: the checkpoint holds no CLIP, or values that fp16 cannot hold.
    """
    state = checkpoint.state_dict_of(checkpoint.load(source), str(source))
    state = {name.removeprefix(_PREFIX): value for name, value in state.items() if name.startswith(_PREFIX)}
    if _TABLE not in state:
        raise WeightsError(f"{source} is no checkpoint of a ContrastivePretrainer: it has no {_PREFIX}{_TABLE}.")
    words = sorted(known_words())
    small = shrink(state, token_rows(CLIPBackbone(arch), words))
    checkpoint.save_weights(small, target, dict(format=FORMAT, arch=arch, seen_words=" ".join(words), made_by=note))


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--arch", default="tiny-rn")
    parser.add_argument("--note", default="clipapps train pretrain/clip_rn_tiny_toyworld")
    args = parser.parse_args()
    export(args.source, args.target, args.arch, args.note)
    print(f"{args.target}: {Path(args.target).stat().st_size / 2**20:.2f} MiB")


if __name__ == "__main__":
    main()
