"""`clipapps test CONFIG [WEIGHTS]`: evaluate weights on a config's test set."""

from __future__ import annotations

import argparse
from pathlib import Path

from clipapps.cli.parsing import CONFIG_HELP, Subparsers, add_overrides, verb_parser


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb to the command line."""
    parser = verb_parser(
        subparsers, "test", "evaluate weights on a config's test set", run,
        example="clipapps test denseclip/denseclip_fpn_tiny_toyworld "
                "work_dirs/denseclip_fpn_tiny_toyworld/best.safetensors\n"
                "clipapps test denseclip/maskclip_tiny_toyworld",
        description="Writes metrics.json. The config's pretrained weights are not needed, unless it trains nothing.")
    parser.add_argument("config", metavar="CONFIG", help=CONFIG_HELP)
    parser.add_argument("weights", metavar="WEIGHTS", nargs="?",
                        help="safetensors, or a checkpoint of a training run; left out for training-free configs")
    parser.add_argument("--out", metavar="D", help="folder for metrics.json (default: work_dirs/<config name>/test)")
    parser.add_argument("--device", default="auto", metavar="cpu|cuda|auto", help="where to run (default: auto)")
    parser.add_argument("--tta", action="store_true",
                        help="average several views of each image, as the config's tta_pipeline says")
    add_overrides(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate and print the metrics."""
    from clipapps.engine import runner
    from clipapps.engine.config import load_config
    from clipapps.engine.config_name import config_name
    from clipapps.engine.report import print_results
    from clipapps.engine.tta import use_test_time_augmentation

    weights, overrides = _split_weights(args.weights, args.overrides)
    cfg = load_config(args.config, overrides)
    if args.tta:
        use_test_time_augmentation(cfg)
    out = Path(args.out or f"work_dirs/{config_name(args.config)}/test")
    metrics = runner.test(cfg, weights, out, device=args.device)
    print_results(metrics, out)
    return 0


def _split_weights(weights: str | None, overrides: list[str]) -> tuple[str | None, list[str]]:
    """`test CONFIG a.b=c`: argparse takes the override for WEIGHTS; give it back."""
    if weights is not None and "=" in weights and not Path(weights).exists():
        return None, [weights, *overrides]
    return weights, overrides
