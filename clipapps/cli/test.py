"""`clipapps test CONFIG WEIGHTS`: evaluate weights on a config's test set."""

from __future__ import annotations

import argparse
from pathlib import Path

from clipapps.cli.parsing import CONFIG_HELP, Subparsers, add_overrides, verb_parser


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb to the command line."""
    parser = verb_parser(
        subparsers, "test", "evaluate weights on a config's test set", run,
        example="clipapps test denseclip/denseclip_fpn_tiny_toyworld "
                "work_dirs/denseclip_fpn_tiny_toyworld/best.safetensors",
        description="Writes metrics.json. The config's pretrained weights are not needed.")
    parser.add_argument("config", metavar="CONFIG", help=CONFIG_HELP)
    parser.add_argument("weights", metavar="WEIGHTS", help="safetensors, or a checkpoint of a training run")
    parser.add_argument("--out", metavar="D", help="folder for metrics.json (default: work_dirs/<config name>/test)")
    parser.add_argument("--device", default="auto", metavar="cpu|cuda|auto", help="where to run (default: auto)")
    add_overrides(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate and print the metrics."""
    from clipapps.engine import runner
    from clipapps.engine.config import load_config
    from clipapps.engine.config_name import config_name
    from clipapps.engine.report import print_results

    cfg = load_config(args.config, args.overrides)
    out = Path(args.out or f"work_dirs/{config_name(args.config)}/test")
    metrics = runner.test(cfg, args.weights, out, device=args.device)
    print_results(metrics, out)
    return 0
