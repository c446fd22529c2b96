"""`clipapps quickstart`: the main job once, offline: train DenseCLIP and its baseline on the toy world, and compare."""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from clipapps.cli.parsing import Subparsers, add_overrides, verb_parser
from clipapps.errors import ClipAppsError

BASELINE = "denseclip/fpn_tiny_toyworld"
METHOD = "denseclip/denseclip_fpn_tiny_toyworld"
LABELS = {BASELINE: "baseline: Semantic FPN", METHOD: "DenseCLIP: with language guidance"}


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb's parser."""
    parser = verb_parser(
        subparsers, "quickstart", "train DenseCLIP and its baseline on the toy world, compare them", run, example="""
        clipapps quickstart
        clipapps quickstart --work-dir /data/first train_cfg.max_iters=50""",
        description="Offline, a few minutes on two CPU cores. Writes checkpoints, curves and pictures.")
    parser.add_argument("--work-dir", metavar="D", type=Path, default=Path("work_dirs/quickstart"),
                        help="where both runs are written (default: %(default)s)")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="seed of both runs (default: %(default)s)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add_overrides(parser)


def run(args: argparse.Namespace) -> int:
    """Train both configs, each in a process of its own, then print the comparison."""
    start = time.monotonic()
    metrics: dict[str, dict[str, Any]] = {}
    for number, (config, label) in enumerate(LABELS.items(), start=1):
        print(f"\n[{number}/{len(LABELS)}] {label}", flush=True)
        work_dir = args.work_dir / config.rpartition("/")[2]
        code = _train(config, work_dir, args)
        if code:
            return code
        metrics[config] = read_metrics(work_dir / "metrics.json")
    print(summary(metrics, args.work_dir, time.monotonic() - start))
    return 0


def _train(config: str, work_dir: Path, args: argparse.Namespace) -> int:
    command = [sys.executable, "-m", "clipapps", "train", config, "--work-dir", str(work_dir), "--seed", str(args.seed),
               "--device", args.device, *args.overrides]
    code = _finished(subprocess.Popen(command))
    return 128 - code if code < 0 else code  # a signal's negative number as a shell writes it


def _finished(process: subprocess.Popen[bytes]) -> int:
    """Its exit code. Ctrl-C reaches the training too, which saves before it ends: that takes its time."""
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def read_metrics(file: Path) -> dict[str, Any]:
    """The content of a run's metrics.json; raises ClipAppsError when the run left none."""
    try:
        metrics = json.loads(file.read_text())
        float(metrics["mIoU"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ClipAppsError(f"{file} holds no mIoU ({type(error).__name__}: {error}).") from error
    return metrics


def summary(metrics: dict[str, dict[str, Any]], work_dir: Path, seconds: float) -> str:
    """The closing text: table of the two runs, where the pictures are, what to try next.

    Args:
        metrics: config name -> content of its metrics.json; fractions in 0..1.
        work_dir: folder with one sub-folder a run.
        seconds: duration of both runs together.
    """
    width = max(map(len, LABELS.values()))
    lines = ["", f"{'':{width}}   mIoU   foreground mIoU"]
    for config, label in LABELS.items():
        foreground = metrics[config].get("mIoU_foreground")
        lines.append(f"{label:{width}}  {_percent(metrics[config]['mIoU'])}   {_percent(foreground)}")
    gain = 100 * (metrics[METHOD]["mIoU"] - metrics[BASELINE]["mIoU"])
    run_dir = work_dir / METHOD.rpartition("/")[2]
    lines += ["", f"DenseCLIP against its baseline: {gain:+.1f} points of mIoU. Both runs took {seconds:.0f} s.",
              f"pictures (input | truth | prediction): {run_dir / 'pictures'}", f"curves: {run_dir / 'curves.png'}",
              "", "next:",
              '  clipapps predict denseclip photo.jpg --classes "sky, road, tree" --out outputs',
              f"  clipapps test {METHOD} {shlex.quote(str(run_dir / 'best.safetensors'))}",
              "  clipapps list configs"]
    return "\n".join(lines)


def _percent(fraction: float | None) -> str:
    return "    -" if fraction is None else f"{100 * fraction:5.1f}"
