"""Training cost of CLIP-LIT, CLIP-LIT-Latent and RAVE.

    python benchmarks/backlit_training.py steps [--threads 1 2] [--bfloat16]
    python benchmarks/backlit_training.py toyworld [--seeds 0 1 2] [--out results.json]

`steps`: seconds per step at full width (ViT-B/32 and RN101 with random weights, batch 8, 224 px), and of a refinement
with four groups whose embeddings are given. `toyworld`: the three tiny recipes over several seeds; quality, and the
processor time (without validation) until it is reached.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from measure import machine, median_seconds
from mmengine.hooks import Hook
from torch.optim import Adam

from clipapps.clip import CLIPBackbone
from clipapps.engine import runner
from clipapps.engine.config import load_config
from clipapps.projects.backlit.guidance import LatentPair, PromptPair, ResidualDirection
from clipapps.projects.backlit.models import BacklitEnhancer
from clipapps.projects.backlit.network import EnhancementNetwork
from clipapps.projects.backlit.residual import residual_vector
from clipapps.registry import HOOKS

GUIDANCES = {"CLIP-LIT": PromptPair, "CLIP-LIT-Latent": LatentPair, "RAVE": ResidualDirection}
RECIPES = {"CLIP-LIT": "clip_lit", "CLIP-LIT-Latent": "clip_lit_latent", "RAVE": "rave"}
NETWORK_GOAL, REFINEMENT_GOAL = 4.0, 0.2  # seconds, two threads
CURVE = "quality_over_time.json"
_BATCH, _SIZE, _RUNS = 8, 224, 3


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


def step_seconds(method: str, precision: Any) -> dict[str, float]:
    """Median seconds of a method's steps by phase."""
    model = enhancer(method)
    images = torch.rand(_BATCH, 3, _SIZE, _SIZE)
    network = list(model.network.parameters())
    found = {phase: median_seconds(step(network, lambda phase=phase: model(images, mode="loss", phase=phase)["loss"],
                                        precision), _RUNS) for phase in ("reconstruct", "enhance")}
    if method != "RAVE":
        pair: Any = model.guidance
        groups = [F.normalize(torch.randn(16, 512), dim=-1) for _ in range(4)]
        found["refine, features given"] = median_seconds(
            step(list(pair.parameters()), lambda: 200 * pair.ranking_loss(groups, (0.9, 0.1)), precision), 5)
    return found


def measure_steps(args: argparse.Namespace) -> int:
    """A table; 1 when two threads miss a goal."""
    def precision() -> Any:
        return torch.autocast("cpu", torch.bfloat16) if args.bfloat16 else nullcontext()

    missed = False
    for threads in args.threads:
        torch.set_num_threads(threads)
        print(machine(), "bfloat16" if args.bfloat16 else "float32", flush=True)
        for method in args.methods:
            found = step_seconds(method, precision)
            print(f"{method:16}" + "".join(f"  {phase}: {value:.3f} s" for phase, value in found.items()), flush=True)
            missed |= threads == 2 and (found["enhance"] > NETWORK_GOAL
                                        or found.get("refine, features given", 0) > REFINEMENT_GOAL)
    print(f"goals with two threads: {NETWORK_GOAL} s a network step, {REFINEMENT_GOAL} s a refinement step: "
          f"{'MISSED' if missed else 'met'}")
    return int(missed)


@HOOKS.register_module()
class QualityOverTime(Hook):
    """Writes step, processor seconds without validation, PSNR and SSIM of every validation into the work folder."""

    def __init__(self) -> None:
        self.notes: list[tuple[int, float, float, float]] = []
        self.spent, self.started = 0.0, 0.0

    def before_train(self, runner: Any) -> None:
        """Start the clock."""
        self.started = time.process_time()

    def before_val(self, runner: Any) -> None:
        """Stop it."""
        self.spent += time.process_time() - self.started

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Note, and go on."""
        assert metrics is not None
        self.notes.append((runner.iter, self.spent, metrics["PSNR"], metrics["SSIM"]))
        (Path(runner.work_dir) / CURVE).write_text(json.dumps(self.notes))
        self.started = time.process_time()


def train_toyworld(method: str, seed: int, every: int) -> dict[str, Any]:
    """One tiny recipe: its curve and its last metrics."""
    cfg = load_config(f"backlit/{RECIPES[method]}_tiny_toyworld", [f"train_cfg.val_interval={every}"])
    cfg.custom_hooks = [dict(type=QualityOverTime, priority="LOWEST")]
    with tempfile.TemporaryDirectory() as folder:
        metrics = runner.train(cfg, folder, seed=seed)
        return dict(method=method, seed=seed, curve=json.loads((Path(folder) / CURVE).read_text()), metrics=metrics)


def measure_toyworld(args: argparse.Namespace) -> int:
    """A row per run, then means and spreads."""
    print(machine(), flush=True)
    rows = []
    for seed in args.seeds:
        for method in args.methods:
            rows.append(train_toyworld(method, seed, args.every))
            print(summary(rows[-1], args.reach), flush=True)
            if args.out:
                Path(args.out).write_text(json.dumps(rows))
    for method in args.methods:
        own = [row for row in rows if row["method"] == method]
        last = [row["curve"][-1] for row in own]
        psnr, ssim = ([at[place] for at in last] for place in (2, 3))
        spent = statistics.mean(at[1] for at in last)
        print(f"{method:16} PSNR {statistics.mean(psnr):.2f} +- {spread(psnr):.2f} dB  SSIM {statistics.mean(ssim):.3f}"
              f" +- {spread(ssim):.3f}  {spent:.0f} CPU s  to {args.reach} dB: "
              f"{[reach_seconds(row, args.reach) for row in own]}")
    return 0


def spread(values: list[float]) -> float:
    """Standard deviation, 0 for a single value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def reach_seconds(row: dict[str, Any], psnr: float) -> float | None:
    """Processor seconds until a validation first saw that PSNR; None: never."""
    return next((round(spent, 1) for _, spent, value, _ in row["curve"] if value >= psnr), None)


def summary(row: dict[str, Any], psnr: float) -> str:
    """One run in a line."""
    _, spent, value, ssim = row["curve"][-1]
    best = max(at[2] for at in row["curve"])
    return (f"{row['method']:16} seed {row['seed']}: input {row['metrics']['input_PSNR']:.2f} dB, last {value:.2f} dB, "
            f"SSIM {ssim:.3f}, best {best:.2f} dB, {spent:.0f} CPU s, to {psnr} dB: {reach_seconds(row, psnr)}")


def main() -> int:
    """Measure what the first word names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    steps = verbs.add_parser("steps")
    steps.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    steps.add_argument("--bfloat16", action="store_true")
    steps.set_defaults(run=measure_steps)
    toyworld = verbs.add_parser("toyworld")
    toyworld.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    toyworld.add_argument("--every", type=int, default=20, help="steps between validations")
    toyworld.add_argument("--reach", type=float, default=16.0, help="dB")
    toyworld.add_argument("--out", help="json file of the curves")
    toyworld.set_defaults(run=measure_toyworld)
    for verb in (steps, toyworld):
        verb.add_argument("--methods", nargs="+", choices=list(GUIDANCES), default=list(GUIDANCES))
    args = parser.parse_args()
    return int(args.run(args))


if __name__ == "__main__":
    sys.exit(main())
