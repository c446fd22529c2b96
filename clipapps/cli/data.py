"""`clipapps data check`: read every sample of a config, or every file of a folder, before a training run meets it."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipapps.cli.parsing import CONFIG_HELP, Subparsers, add_overrides, verb_parser

if TYPE_CHECKING:
    from clipapps.data.check import Finding, Summary

FINDINGS = 2
_REDRAW_SECONDS = 0.2


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb to the command line."""
    parser = verb_parser(
        subparsers, "data", "check the data of a config, or a folder of images or videos", run,
        example="clipapps data check denseclip/denseclip_fpn_rn50_80k_ade20k_512 data_root=data/ade --limit 500\n"
                "clipapps data check my_config.py --json findings.json --pictures samples\n"
                "clipapps data check photos/",
        description="Reads the train, val and test samples through their own pipelines and reports, one a line, files "
                    "that are missing or do not decode, labels outside the classes or of another size than their "
                    "image, and label maps in which every pixel is ignored; then sizes and classes of each split. "
                    "Exit code 2 if there are findings.")
    parser.add_argument("action", choices=("check",))
    parser.add_argument("target", metavar="CONFIG_OR_FOLDER", help=f"{CONFIG_HELP}; or a folder of images or videos")
    parser.add_argument("--limit", type=_count, metavar="N", help="look at N samples of each split, spread evenly")
    parser.add_argument("--workers", type=int, metavar="N",
                        help="processes that read (default: the config's num_workers; 0 for a folder)")
    parser.add_argument("--json", metavar="FILE", help="write findings and figures for other programs")
    parser.add_argument("--pictures", metavar="D", help="write a sheet of 16 samples of each split into D")
    add_overrides(parser)


def run(args: argparse.Namespace) -> int:
    """Check, print findings as they come and the figures at the end; 2 if there are findings."""
    from clipapps.engine.atomic import write_json
    from clipapps.engine.data_check import check_config, check_folder

    telling = _Telling()
    pictures = Path(args.pictures) if args.pictures else None
    if Path(args.target).is_dir():
        _refuse_overrides(args)
        summaries = check_folder(Path(args.target), limit=args.limit, workers=args.workers or 0, pictures=pictures,
                                 listener=telling)
    else:
        from clipapps.engine.config import load_config

        cfg = load_config(args.target, args.overrides)
        summaries = check_config(cfg, limit=args.limit, workers=args.workers, pictures=pictures, listener=telling)
    telling.clear()
    findings = [finding for summary in summaries for finding in summary.findings]
    if args.json:
        write_json(Path(args.json), {"checked": args.target, "findings_count": len(findings),
                                     "splits": {summary.split: summary.to_dict() for summary in summaries}})
    print(("\n" if findings else "") + report(summaries))
    if pictures is not None:
        print(f"pictures: {pictures}")
    print(f"{len(findings)} finding{'' if len(findings) == 1 else 's'}." if findings else "No findings.")
    return FINDINGS if findings else 0


def report(summaries: list[Summary]) -> str:
    """The table of splits, and the table of classes where there are any."""
    from clipapps.cli.list import table

    rows: list[dict[str, Any]] = [dict(zip(_COLUMNS, _COLUMNS, strict=True))]
    for summary in summaries:
        sizes = " to ".join(dict.fromkeys(f"{size[0]}x{size[1]}" for size in (summary.smallest, summary.largest)
                                          if size is not None))
        names = ", ".join([summary.split, *summary.also])
        rows.append(dict(zip(_COLUMNS, (names, summary.samples, summary.read, summary.bad, summary.left_out or None,
                                        sizes), strict=True)))
    parts = [table(rows)]
    for kind, title in (("pixels", "share of pixels"), ("objects", "objects")):
        if any(getattr(summary, kind) for summary in summaries):
            parts += ["", table(_classes(summaries, kind, title))]
    return "\n".join(parts)


_COLUMNS = ("split", "samples", "read", "bad", "left out", "image size")


def _classes(summaries: list[Summary], kind: str, title: str) -> list[dict[str, Any]]:
    """A header, then a row a class: its share of the pixels, or its number of objects, in each split."""
    counts = {summary.split: {summary.class_name(index): count for index, count in getattr(summary, kind).items()}
              for summary in summaries}
    named = [name for summary in summaries for name in summary.classes]
    found = [name for split in counts.values() for name in split]
    rows: list[dict[str, Any]] = [{"class": title, **{split: split for split in counts}}]
    for name in dict.fromkeys([*named, *found]):
        row: dict[str, Any] = {"class": name}
        for split, numbers in counts.items():
            count, total = numbers.get(name, 0), sum(numbers.values())
            row[split] = (f"{count / total:.2%}" if kind == "pixels" else count) if count else "none"
        rows.append(row)
    return rows


class _Telling:
    """Prints findings as they come, and on a terminal a line that says how far the check is."""

    def __init__(self) -> None:
        self._is_live = sys.stderr.isatty()
        self._drawn = 0.0
        self._width = 0

    def __call__(self, summary: Summary, new: list[Finding]) -> None:
        if new:
            self.clear()
        for finding in new:
            print(f"{finding.split}: {finding.reason}", flush=True)
        now = time.monotonic()
        if self._is_live and now - self._drawn > _REDRAW_SECONDS:
            text = f"{summary.split} {summary.read}/{summary.chosen}  {summary.bad} bad"
            print(f"\r{text:<{self._width}}", end="", file=sys.stderr, flush=True)
            self._drawn, self._width = now, len(text)

    def clear(self) -> None:
        """Wipe the live line."""
        if self._width:
            print(f"\r{'':<{self._width}}\r", end="", file=sys.stderr, flush=True)
            self._width = 0


def _refuse_overrides(args: argparse.Namespace) -> None:
    from clipapps.errors import UserError

    if args.overrides:
        raise UserError(f"A folder has no config keys, so {args.overrides[0]!r} changes nothing; give a config to "
                        "check its data sets.")


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number
