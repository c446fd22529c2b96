"""Speed of ILA's model, and what it is worth: `python benchmarks/ila.py [insert] [model] [frames] [toyworld]`.

insert: one alignment (all that is put in front of a CLIP block) against the released form written out step by step,
        with the largest difference of their outputs, and its share of a block's time.
model:  clips/s of the whole model, forward and forward + backward, B/32 and B/16, 8 frames.
frames: seconds of a forward pass against T = 4 .. 32 frames; close to linear means a constant cost per frame.
toyworld (only when named): the three toy-world recipes over several seeds, with parameters and multiply-accumulates;
        runs whose `metrics.json` is in `--out` already are not repeated.

For the speed weights are random: they do not change the cost. Figures are medians; pairs are measured in turn, so that
a change of the machine's speed hits both.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from measure import machine, paired
from torch import Tensor, nn

CONFIGS = {"B/32": "ila/ila_vit_b32_8f_k400", "B/16": "ila/ila_vit_b16_8f_k400", "tiny": "ila/ila_tiny_toyworld"}
RECIPES = {"ILA": "ila", "MIT without alignment": "mit", "mean of the frames": "mean_pool"}
GRIDS = {"B/32": (768, 7), "B/16": (768, 14)}
GOAL = 0.93  # the insert's time against that of the released form


class ReleasedForm(nn.Module):
    """An `AlignmentInsert` with its own parameters, computed as the released code does: token-first, mask by mask."""

    def __init__(self, insert: Any) -> None:
        super().__init__()
        self.insert = insert

    def masks(self, points: Tensor, side: int) -> Tensor:
        """Points (B, T - 1, 2) -> the mean over the offsets of whole masks, (B, T - 1, H, W)."""
        delta = self.insert.message_attn.disturbance if self.training else 0.0
        offsets = list(itertools.product((-delta, 0.0, delta), repeat=2)) if delta else [(0.0, 0.0)]
        axis = 2 * torch.arange(side) / (side - 1) - 1
        grid = torch.stack([axis.repeat(side, 1), axis.repeat(side, 1).t()], dim=-1)  # (H, W, 2)
        total = []
        for offset in offsets:
            center = points + points.new_tensor(offset)
            distance = (grid - center[:, :, None, None]).abs()
            weight = torch.where(distance <= 0.25, torch.ones_like(distance),
                                 (1 - 1.5 * (distance - 0.25)).clamp(min=0))
            total.append(weight[..., 0] * weight[..., 1])
        return torch.stack(total).mean(dim=0)

    def align(self, pre: Tensor, cur: Tensor, class_tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Patches (B, D, T - 1, H, W) of both frames -> pooled pairs, aligned frames, features of the interaction."""
        module, (b, _, pairs, side, _) = self.insert.message_attn, pre.shape
        stacked = torch.cat([pre, cur], dim=1).transpose(1, 2).flatten(0, 1).contiguous()
        features = module.interactive_block(stacked)
        points = module.prediction_block(features).view(b, pairs, 4) * 0.75
        mask_pre, mask_cur = self.masks(points[..., :2], side), self.masks(points[..., 2:], side)
        masked_pre, masked_cur = mask_pre[:, None] * pre, mask_cur[:, None] * cur  # two copies of all frames
        pooled = torch.cat([masked_pre.sum(dim=(3, 4)), masked_cur.sum(dim=(3, 4))], dim=1).transpose(1, 2)
        middle = (masked_pre[:, :, 1:] + masked_cur[:, :, :-1]) / 2
        aligned = torch.cat([masked_pre[:, :, :1], middle, masked_cur[:, :, -1:]], dim=2)
        aligned = torch.cat([class_tokens, aligned.flatten(3).permute(0, 2, 3, 1)], dim=2)
        first, second = features.view(b, pairs, -1, side, side).transpose(1, 2).chunk(2, dim=1)
        frames = torch.cat([first[:, :, :1], (first[:, :, 1:] + second[:, :, :-1]) / 2, second[:, :, -1:]], dim=2)
        projected = module.fc(module.conv(frames).permute(0, 2, 3, 4, 1)).flatten(2, 3)
        return pooled, aligned, torch.cat([class_tokens, projected], dim=2)

    def forward(self, tokens: Tensor, num_frames: int, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Token-first tokens (L, B T, D) -> the same for the block, and the pairs' distance."""
        insert = self.insert
        messages = insert.message_ln(insert.message_fc(tokens)).unflatten(1, (-1, num_frames))  # (L, B, T, D)
        frames = messages[1:].unflatten(0, grid).permute(2, 4, 3, 0, 1)  # (B, D, T, H, W)
        pooled, aligned, interaction = self.align(frames[:, :, :-1], frames[:, :, 1:],
                                                  messages[:1].permute(1, 2, 0, 3))
        pre, cur = pooled.chunk(2, dim=-1)
        distance = (1 - (F.normalize(pre, dim=-1) * F.normalize(cur, dim=-1)).sum(dim=-1)).mean()
        tokens = tokens + insert.temporal_skip_align_fc(aligned.flatten(0, 1).transpose(0, 1))
        return tokens + insert.temporal_skip_fc(interaction.flatten(0, 1).transpose(0, 1)), distance


def median_seconds(run: Callable[[], object], runs: int, clock: Callable[[], float]) -> float:
    """Median time of `runs` calls by a clock, after one that is not counted."""
    run()
    taken = []
    for _ in range(runs):
        start = clock()
        run()
        taken.append(clock() - start)
    return statistics.median(taken)


def make_insert(width: int, channels: int = 256) -> Any:
    from clipapps.projects.ila.alignment import AlignmentInsert

    torch.manual_seed(0)
    insert = AlignmentInsert(width, channels)
    for parameter in insert.parameters():  # nothing at zero, where differences would hide
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    return insert


def compare_inserts(pairs: int) -> bool:
    """Print the times of both forms; returns whether the goal is met everywhere."""
    ratios = []
    for name, (width, side) in GRIDS.items():
        insert, frames = make_insert(width), 8
        released = ReleasedForm(insert)
        tokens = torch.randn(frames, side * side + 1, width)
        block = nn.TransformerEncoderLayer(width, width // 64, 4 * width, batch_first=True, norm_first=True).eval()
        for mode in ("evaluation", "training"):
            is_training = mode == "training"
            insert.train(is_training), released.train(is_training)
            theirs = tokens.transpose(0, 1).contiguous()

            def run_ours(insert: Any = insert, tokens: Tensor = tokens, side: int = side,
                         is_training: bool = is_training) -> Tensor:
                x = tokens.clone().requires_grad_(is_training)
                with torch.set_grad_enabled(is_training):
                    out, distance, _ = insert(x, 8, (side, side), with_distance=is_training)
                    if is_training:
                        (out.square().mean() + distance).backward()
                return out

            def run_theirs(released: Any = released, tokens: Tensor = theirs, side: int = side,
                           is_training: bool = is_training) -> Tensor:
                x = tokens.clone().requires_grad_(is_training)
                with torch.set_grad_enabled(is_training):
                    out, distance = released(x, 8, (side, side))
                    if is_training:
                        (out.square().mean() + distance).backward()
                return out

            difference = (run_ours() - run_theirs().transpose(0, 1)).abs().max().item()
            slow, fast, ratio = paired(run_theirs, run_ours, pairs)
            ratios.append(ratio)
            print(f"{name}, {frames} frames, {mode}: released form {1e3 * slow:.0f} ms, ours {1e3 * fast:.0f} ms, "
                  f"ratio {ratio:.3f}; outputs differ by {difference:.1e} at most")
        insert.eval()
        with torch.no_grad():
            alone, both, share = paired(lambda block=block, x=tokens: block(x),
                                        lambda insert=insert, x=tokens, s=side: insert(x, 8, (s, s)), pairs)
        print(f"{name}: a CLIP block {1e3 * alone:.0f} ms, its insert {1e3 * both:.0f} ms ({share:.2f} of it)")
    print(f"goal: at most {GOAL} of the released form: {'met' if max(ratios) <= GOAL else 'missed'}")
    return max(ratios) <= GOAL


def build(name: str, num_frames: int = 8) -> Any:
    from mmengine.registry import init_default_scope

    from clipapps.engine.config import load_config
    from clipapps.registry import MODELS

    init_default_scope("clipapps")
    torch.manual_seed(0)
    return MODELS.build(load_config(CONFIGS[name], ["model.backbone.weights=None",
                                                    f"model.num_frames={num_frames}"]).model)


def measure_models(names: list[str], runs: int, clock: Callable[[], float]) -> None:
    """Print clips/s."""
    for name in names:
        model = build(name)
        size, classes = model.backbone.native_size, model.num_classes
        clip = torch.randn(1, 8, 3, *size)

        def forward(model: Any = model, clip: Tensor = clip) -> None:
            with torch.inference_mode():
                model.eval()(clip)

        def step(model: Any = model, clip: Tensor = clip) -> None:
            model.train()
            model.parse_losses(model(clip, mode="loss", label=torch.tensor([1])))[0].backward()
            model.zero_grad()

        alone, both = median_seconds(forward, runs, clock), median_seconds(step, runs, clock)
        print(f"{name}, 8 frames, {classes} classes: forward {1 / alone:.3f} clips/s, forward + backward "
              f"{1 / both:.3f} clips/s", flush=True)


def measure_frames(names: list[str], runs: int, clock: Callable[[], float]) -> None:
    """Print seconds against the number of frames."""
    for name in names:
        model, base = build(name).eval(), 0.0
        for frames in (4, 8, 16, 32):
            clip = torch.randn(1, frames, 3, *model.backbone.native_size)
            with torch.inference_mode():
                taken = median_seconds(lambda model=model, clip=clip: model(clip), runs, clock)
            base = base or taken / frames
            print(f"{name}: {frames:2} frames {taken:.2f} s, {taken / frames / base:.2f} of the cost per frame at 4")


def compare_on_toy_world(seeds: list[int], out: Path, overrides: list[str]) -> None:
    """Print top-1 of ILA, of the same without alignment, and of mean-pooled frames."""
    from clipapps.engine import runner
    from clipapps.engine.config import load_config
    from clipapps.projects.ila.complexity import measure
    from clipapps.projects.ila.convert import build_empty

    for name, recipe in RECIPES.items():
        scores, of_pairs = [], []
        for seed in seeds:
            folder = out / f"{recipe}_{seed}"
            table = folder / "probabilities.tsv"
            if not (folder / "metrics.json").is_file():
                cfg = load_config(f"ila/{recipe}_tiny_toyworld", [*overrides, f"val_evaluator.dump={table}"])
                runner.train(cfg, folder, seed=seed)
            scores.append(json.loads((folder / "metrics.json").read_text())["top1"])
            of_pairs.append(accuracies_of_pairs(table))
        cfg = load_config(f"ila/{recipe}_tiny_toyworld")
        cfg.model.backbone.input_resolution = cfg.val_dataloader.dataset.size
        costs = measure(build_empty(cfg))
        spread = f" (standard deviation {100 * statistics.stdev(scores):.1f})" if len(scores) > 1 else ""
        print(f"{name}: top-1 {100 * statistics.mean(scores):.1f} %{spread}; {', '.join(f'{x:.3f}' for x in scores)}; "
              f"{costs.parameters['trained'] / 1e6:.2f} million trained parameters, "
              f"{costs.macs['total'] / 1e9:.2f} GMACs")
        print("  top-1 of a pair's films, and which of the two when only these are asked for: " + "; ".join(
            f"{pair} {100 * statistics.mean(x[pair][0] for x in of_pairs):.0f} %, "
            f"{100 * statistics.mean(x[pair][1] for x in of_pairs):.0f} %" for pair in of_pairs[0]))


def accuracies_of_pairs(table: Path) -> dict[str, tuple[float, float]]:
    """Of a metric's dump: for each pair of motions top-1, and how often the right one of the two is the likelier."""
    from clipapps.toyworld import MOTIONS

    rows = [line.split("\t") for line in table.read_text().splitlines()]
    labels = torch.tensor([int(row[1]) for row in rows])
    scores = torch.tensor([[float(value) for value in row[2:]] for row in rows])
    known = scores.argmax(dim=1) == labels
    likelier = scores.gather(1, labels[:, None]) > scores.gather(1, (labels ^ 1)[:, None])
    return {f"{MOTIONS[2 * pair]} / {MOTIONS[2 * pair + 1]}": (known[labels // 2 == pair].float().mean().item(),
                                                               likelier[labels // 2 == pair].float().mean().item())
            for pair in range(len(MOTIONS) // 2)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=["insert", "model", "frames"], metavar="PART")
    parser.add_argument("--models", nargs="+", default=["B/32", "B/16"], choices=list(CONFIGS))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall",
                        help="of model and frames; cpu: processor time, for one thread on a busy machine")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("work_dirs/ila_toyworld"))
    parser.add_argument("--cfg-options", nargs="*", default=[], metavar="A.B=C", help="of the toy-world recipes")
    arguments = parser.parse_args()
    clock = time.process_time if arguments.clock == "cpu" else time.perf_counter
    print(machine())
    met = True
    if "insert" in arguments.parts:
        met = compare_inserts(arguments.runs)
    if "model" in arguments.parts:
        measure_models(arguments.models, arguments.runs, clock)
    if "frames" in arguments.parts:
        measure_frames(arguments.models, arguments.runs, clock)
    if "toyworld" in arguments.parts:
        compare_on_toy_world(arguments.seeds, arguments.out, arguments.cfg_options)
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
