"""`clipapps convert PROJECT SRC [DST]`: a checkpoint of a method's authors, as safetensors for our model."""

from __future__ import annotations

import argparse
from pathlib import Path

from clipapps.cli.parsing import Subparsers, add_overrides, verb_parser
from clipapps.errors import UserError, did_you_mean
from clipapps.project import list_projects


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb to the command line."""
    parser = verb_parser(
        subparsers, "convert", "turn a checkpoint into safetensors that this package reads", run,
        description="With PROJECT, a checkpoint that the method's authors released: names and quirks are mapped, and "
                    "the config it belongs to is found from its keys. Without, any checkpoint, names unchanged.",
        example="clipapps convert denseclip released.pth denseclip_rn50.safetensors\n"
                "clipapps convert denseclip mine.pth mine/weights.safetensors --config my_config.py\n"
                "clipapps convert --trust old_training_run.pth")
    parser.usage = "clipapps convert [PROJECT] SRC [DST] [--trust] [--force] [--config CONFIG] [a.b=c ...]"
    parser.add_argument("words", nargs="+", metavar="[PROJECT] SRC [DST]",
                        help="project, checkpoint, and the .safetensors file to write (default: beside the checkpoint)")
    parser.add_argument("--trust", action="store_true",
                        help="also read a pickle that holds more than tensors, in a process of its own")
    parser.add_argument("--force", action="store_true", help="replace DST where it exists")
    parser.add_argument("--config", metavar="CONFIG",
                        help="convert for this config (a name or a file) instead of the one that the keys tell")
    add_overrides(parser)


def run(args: argparse.Namespace) -> int:
    """Convert, and say what was written."""
    project, files, overrides = _sorted(args.words, args.overrides)
    from clipapps.engine.convert import convert

    written, notes = convert(files[0], files[1] if len(files) > 1 else None, project=project, config=args.config,
                             overrides=overrides, trust=args.trust, force=args.force)
    print(*written, sep="  ")
    print(*notes, sep="\n")
    return 0


def _sorted(words: list[str], overrides: list[str]) -> tuple[str | None, list[str], list[str]]:
    """Project or None, source and target, and overrides, from the words in any of the allowed orders."""
    bare = [word for word in words if "=" in word and not Path(word).exists()]
    words, overrides = [word for word in words if word not in bare], [*bare, *overrides]
    project = words[0] if words and words[0] in list_projects() else None
    files = words if project is None else words[1:]
    if project is None and len(files) > 1 and "." not in files[0]:
        raise UserError(f"There is no project {files[0]!r}.{did_you_mean(files[0], list_projects())} "
                        "`clipapps list projects` shows what is installed.")
    if not 1 <= len(files) <= 2:
        raise UserError("Write clipapps convert [PROJECT] SRC [DST]: one checkpoint, and at most one file to write.")
    return project, files, overrides
