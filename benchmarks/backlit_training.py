"""Training cost of CLIP-LIT, CLIP-LIT-Latent and RAVE.

    python benchmarks/backlit_training.py steps [--threads 1 2] [--clock cpu] [--bfloat16]
    python benchmarks/backlit_training.py toyworld [--seeds 0 1 2] [--out results.json]

`steps`: seconds per step at full width (ViT-B/32 and RN101 with random weights, batch 8, 224 px), and of a refinement
with four groups whose embeddings are given; beside each, what the same arithmetic takes as plain matrix products.
`toyworld`: the three tiny recipes over several seeds; quality on the test scenes, which no setting was chosen on, and
the processor time (without validation) until it is reached.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from measure import machine
from mmengine.hooks import Hook
from torch.optim import Adam
from torch.utils.flop_counter import FlopCounterMode

from clipapps.clip import CLIPBackbone
from clipapps.engine import runner
from clipapps.engine.config import load_config
from clipapps.projects.backlit.datasets import ToyWorldLightingPairs
from clipapps.projects.backlit.guidance import LatentPair, PromptPair, ResidualDirection
from clipapps.projects.backlit.models import BacklitEnhancer
from clipapps.projects.backlit.network import EnhancementNetwork
from clipapps.projects.backlit.residual import residual_vector
from clipapps.registry import HOOKS
from clipapps.toyworld import render, sample_scene

GUIDANCES = {"CLIP-LIT": PromptPair, "CLIP-LIT-Latent": LatentPair, "RAVE": ResidualDirection}
RECIPES = {"CLIP-LIT": "clip_lit", "CLIP-LIT-Latent": "clip_lit_latent", "RAVE": "rave"}
NETWORK_GOAL, REFINEMENT_GOAL = 4.0, 0.2  # seconds, two threads
CURVE = "quality_over_time.json"
_BATCH, _SIZE, _SCENES = 8, 224, 32


def enhancer(method: str) -> BacklitEnhancer:
    """A model at full width with random weights."""
    torch.manual_seed(0)
    vit = CLIPBackbone("ViT-B-32-quickgelu", with_text=method == "CLIP-LIT")
    resnet = CLIPBackbone("RN101-quickgelu", with_text=False, with_pool=False)
    model = BacklitEnhancer(dict(type=GUIDANCES[method]), vit, resnet, EnhancementNetwork(start_bias=1.0))
    model.guidance.init_weights()
    if isinstance(model.guidance, ResidualDirection):
        model.guidance.set(residual_vector(torch.randn(4, vit.embed_dim), torch.randn(4, vit.embed_dim)))
    return model.train()


def step(parameters: Any, loss: Callable[[], torch.Tensor], precision: Any) -> Callable[[], None]:
    """One whole training step: forward, backward, Adam."""
    optimizer = Adam(parameters, lr=2e-5, weight_decay=1e-3)

    def run() -> None:
        optimizer.zero_grad()
        with precision():
            value = loss()
        value.backward()
        optimizer.step()

    return run


def loss_of(model: BacklitEnhancer, images: torch.Tensor, phase: str) -> torch.Tensor:
    """What a phase steps."""
    loss: torch.Tensor = model(images, mode="loss", phase=phase)["loss"]
    return loss


def steps_of(method: str, phases: Sequence[str], precision: Any) -> dict[str, Callable[[], None]]:
    """A method's steps by phase: those of the network that are named, and the refinement where there is one."""
    model = enhancer(method)
    images = torch.rand(_BATCH, 3, _SIZE, _SIZE)
    network = list(model.network.parameters())
    found = {phase: step(network, partial(loss_of, model, images, phase), precision) for phase in phases}
    if method != "RAVE":
        pair: Any = model.guidance
        groups = [F.normalize(torch.randn(_BATCH, 512), dim=-1) for _ in range(4)]
        found["refine"] = step(list(pair.parameters()), lambda: 200 * pair.ranking_loss(groups, (0.9, 0.1)), precision)
    return found


def gigamacs(run: Callable[[], None]) -> float:
    """Multiply-accumulates of a call, backward included, in thousand millions."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() / 2e9


def beside_floor(run: Callable[[], None], clock: Callable[[], float], runs: int) -> tuple[float, ...]:
    """Median seconds of a step, of its floor, the median of their ratios, measured in turn, and the step's GMACs.

    The floor is the step's arithmetic as products of 2048 x 2048 matrices.
    """
    matrix, macs = torch.rand(2048, 2048), gigamacs(run)  # counting is also the warm-up
    steps, floors = [], []
    for _ in range(runs):
        start = clock()
        matrix @ matrix
        middle = clock()
        run()
        floors.append((middle - start) * macs * 1e9 / 2048**3)
        steps.append(clock() - middle)
    return (statistics.median(steps), statistics.median(floors),
            statistics.median(a / b for a, b in zip(steps, floors, strict=True)), macs)


def measure_steps(args: argparse.Namespace) -> int:
    """A table; 1 when two threads miss a goal."""
    def precision() -> Any:
        return torch.autocast("cpu", torch.bfloat16) if args.bfloat16 else nullcontext()

    clock, missed = time.process_time if args.clock == "cpu" else time.perf_counter, False
    for threads in args.threads:
        torch.set_num_threads(threads)
        print(machine(), "bfloat16" if args.bfloat16 else "float32", f"{args.clock} seconds", flush=True)
        for method in args.methods:
            for phase, run in steps_of(method, args.phases, precision).items():
                spent, floor, ratio, macs = beside_floor(run, clock, args.runs)
                print(f"{method:16} {phase:12} {spent:7.3f} s, floor {floor:7.3f} s, ratio {ratio:.2f}, "
                      f"{macs:.1f} GMAC, load {os.getloadavg()[0]:.1f}", flush=True)
                goal = REFINEMENT_GOAL if phase == "refine" else NETWORK_GOAL
                missed |= threads == 2 and args.clock == "wall" and spent > goal
    print(f"goals with two threads, wall: {NETWORK_GOAL} s a network step, {REFINEMENT_GOAL} s a refinement step"
          f"{': MISSED' if missed else ''}")
    return int(missed)


@HOOKS.register_module()
class QualityOverTime(Hook):
    """Writes of every validation into the work folder: step, processor seconds without validation, PSNR, SSIM, and the
    PSNR of the objects alone, which is what is against the light.

    Args:
        num_scenes, size, split: the validation's.
    """

    def __init__(self, num_scenes: int, size: int, split: str) -> None:
        self.scenes = ToyWorldLightingPairs(num_scenes, size, split=split)
        self.notes: list[tuple[float, ...]] = []
        self.spent, self.started = 0.0, 0.0
        self.of_objects: list[float] = []

    def before_train(self, runner: Any) -> None:
        """Start the clock."""
        self.started = time.process_time()

    def before_val(self, runner: Any) -> None:
        """Stop it."""
        self.spent += time.process_time() - self.started
        self.of_objects = []

    def after_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Note the objects' PSNR of each scene."""
        for sample in outputs:
            scene = sample_scene(self.scenes.seed, sample["sample_idx"], self.scenes.spec)
            is_object = torch.from_numpy(render(scene, self.scenes.size).semantic > 0)
            error = (sample["enhanced"].float() - sample["target"].float())[:, is_object] / 255
            if error.numel():
                self.of_objects.append(float(-10 * error.square().mean().clamp(min=1e-6).log10()))

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Note, and go on."""
        assert metrics is not None
        self.notes.append((runner.iter, self.spent, metrics["PSNR"], metrics["SSIM"], statistics.mean(self.of_objects)))
        (Path(runner.work_dir) / CURVE).write_text(json.dumps(self.notes))
        self.started = time.process_time()


def train_toyworld(method: str, seed: int, every: int, overrides: Sequence[str]) -> dict[str, Any]:
    """One tiny recipe: its curve and its last metrics, both on test scenes."""
    cfg = load_config(f"backlit/{RECIPES[method]}_tiny_toyworld", [f"train_cfg.val_interval={every}", *overrides])
    scenes = dict(num_scenes=_SCENES, size=cfg.val_dataloader.dataset.size, split="test")
    cfg.val_dataloader.dataset.update(scenes)
    cfg.custom_hooks = [dict(type=QualityOverTime, priority="LOWEST", **scenes)]
    with tempfile.TemporaryDirectory() as folder:
        metrics = runner.train(cfg, folder, seed=seed)
        return dict(method=method, seed=seed, curve=json.loads((Path(folder) / CURVE).read_text()), metrics=metrics)


def measure_toyworld(args: argparse.Namespace) -> int:
    """A row per run, then means and spreads, then what the papers claim."""
    print(machine(), flush=True)
    rows = []
    for seed in args.seeds:
        for method in args.methods:
            rows.append(train_toyworld(method, seed, args.every, args.set))
            print(summary(rows[-1], args.reach), flush=True)
            if args.out:
                Path(args.out).write_text(json.dumps(rows))
    for method in args.methods:
        own = [row for row in rows if row["method"] == method]
        last = [row["curve"][-1] for row in own]
        psnr, ssim, objects = ([at[place] for at in last] for place in (2, 3, 4))
        spent = statistics.mean(at[1] for at in last)
        print(f"{method:16} PSNR {statistics.mean(psnr):.2f} +- {spread(psnr):.2f} dB  SSIM {statistics.mean(ssim):.3f}"
              f" +- {spread(ssim):.3f}  objects {statistics.mean(objects):.2f} +- {spread(objects):.2f} dB  "
              f"{spent:.0f} CPU s  largest fall from the best {max(map(fall, own)):.2f} dB")
    return 0


def spread(values: list[float]) -> float:
    """Standard deviation, 0 for a single value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def fall(row: dict[str, Any]) -> float:
    """How many dB a run's last validation lies below its best."""
    return float(max(at[2] for at in row["curve"]) - row["curve"][-1][2])


def reach_seconds(row: dict[str, Any], column: int, value: float) -> float | None:
    """Processor seconds until a validation first saw a value in a column of the curve; None: never."""
    return next((round(at[1], 1) for at in row["curve"] if at[column] >= value), None)


def summary(row: dict[str, Any], reach: float) -> str:
    """One run in a line."""
    (_, spent, value, ssim, objects), start = row["curve"][-1], row["metrics"]["input_PSNR"]
    return (f"{row['method']:16} seed {row['seed']}: input {start:.2f} dB, {row['metrics']['input_SSIM']:.3f}, last "
            f"{value:.2f} dB, {ssim:.3f}, best {value + fall(row):.2f} dB, to input + 1 dB: "
            f"{reach_seconds(row, 2, start + 1)}, objects {row['curve'][0][4]:.2f} -> {objects:.2f} dB, to {reach} dB: "
            f"{reach_seconds(row, 4, reach)}, {spent:.0f} CPU s")


def main() -> int:
    """Measure what the first word names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    steps = verbs.add_parser("steps")
    steps.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    steps.add_argument("--bfloat16", action="store_true")
    steps.add_argument("--runs", type=int, default=3)
    steps.add_argument("--phases", nargs="*", choices=["reconstruct", "enhance"], default=["reconstruct", "enhance"])
    steps.add_argument("--clock", choices=["wall", "cpu"], default="wall",
                       help="cpu: seconds of computing, all threads together, for a machine that does other things")
    steps.set_defaults(run=measure_steps)
    toyworld = verbs.add_parser("toyworld")
    toyworld.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    toyworld.add_argument("--every", type=int, default=20, help="steps between validations")
    toyworld.add_argument("--reach", type=float, default=13.0, help="dB of the objects whose time is noted")
    toyworld.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="changes to every recipe")
    toyworld.add_argument("--out", help="json file of the curves")
    toyworld.set_defaults(run=measure_toyworld)
    for verb in (steps, toyworld):
        verb.add_argument("--methods", nargs="+", choices=list(GUIDANCES), default=list(GUIDANCES))
    args = parser.parse_args()
    return int(args.run(args))


if __name__ == "__main__":
    sys.exit(main())
