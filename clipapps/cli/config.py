"""`clipapps config`: look at a config, or check it, without building or running anything."""

from __future__ import annotations

import argparse
import contextlib
import sys

from clipapps.cli.parsing import CONFIG_HELP, Subparsers, add_overrides, verb_parser


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb's parser."""
    parser = verb_parser(subparsers, "config", "show or check a config without running it", run, example="""
        clipapps config show denseclip/denseclip_fpn_tiny_toyworld
        clipapps config check my_config.py optim_wrapper.optimizer.lr=1e-4""",
        description="`show` prints the flattened result with overrides applied; `check` lists every wrong key, "
                    "type or argument at once (exit code 2).")
    parser.add_argument("action", choices=("show", "check"))
    parser.add_argument("config", metavar="CONFIG", help=CONFIG_HELP)
    add_overrides(parser)


def run(args: argparse.Namespace) -> int:
    """Load the config through the same strict check that `train` uses, then print it or say that it is fine."""
    from clipapps.engine.config import load_config

    with contextlib.redirect_stdout(sys.stderr):  # libraries print while they are imported; stdout is for the config
        config = load_config(args.config, args.overrides)
    if args.action == "show":
        print(config.pretty_text)
    else:
        overridden = f" with {len(args.overrides)} override(s)" if args.overrides else ""
        print(f"{args.config}: no findings{overridden}.")
    return 0
