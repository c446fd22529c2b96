"""What all verbs share in their argument parsers."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
else:
    Subparsers: TypeAlias = argparse._SubParsersAction


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of examples, and leaves room for long option names beside their help."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=110)


CONFIG_HELP = "a config file, or a name from `clipapps list configs` such as denseclip/denseclip_fpn_tiny_toyworld"


def verb_parser(subparsers: Subparsers, name: str, summary: str, run: Callable[[argparse.Namespace], int], *,
                example: str, description: str = "") -> argparse.ArgumentParser:
    """A new verb's parser with its example, the global `--traceback` and `run` as the function to call.

    Args:
        name: the verb.
        summary: one line for `clipapps --help`, without a capital and a full stop.
        example: one or more complete command lines, shown under "example:".
        description: more than the summary, shown by `clipapps <verb> --help`.
    """
    examples = "\n".join(f"  {line.strip()}" for line in example.strip().splitlines())
    opening = f"{summary[:1].upper()}{summary[1:]}. {description}".strip()
    parser = subparsers.add_parser(
        name, help=summary, description=textwrap.fill(opening, 100), epilog=f"example:\n{examples}",
        formatter_class=HelpFormatter, allow_abbrev=False)
    parser.add_argument("--traceback", action="store_true", default=argparse.SUPPRESS,
                        help="on an error, show the full traceback")
    parser.set_defaults(run=run)
    return parser


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Add `--cfg-options a.b=c ...` and bare `a.b=c ...`; both arrive in the list `args.overrides`, bare ones last."""
    parser.add_argument("--cfg-options", dest="overrides", nargs="+", action="extend", default=[], metavar="a.b=c",
                        help="override config keys; the bare form `a.b=c` works too, anywhere after CONFIG")
