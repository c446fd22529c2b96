"""`clipapps list`: projects (third-party plugins included), configs, models and weights."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

from clipapps.cli.parsing import Subparsers, verb_parser

Row = dict[str, Any]


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb's parser."""
    parser = verb_parser(subparsers, "list", "show projects, configs, models and weights", run, example="""
        clipapps list
        clipapps list configs --json""", description="Without a kind it shows projects and configs.")
    parser.add_argument("kind", nargs="?", choices=sorted(KINDS), help="what to list")
    parser.add_argument("--json", action="store_true", help='print {"<kind>": [...]} for other programs')


def run(args: argparse.Namespace) -> int:
    """Print the asked kind, or projects and configs."""
    kinds = [args.kind] if args.kind else ["projects", "configs"]
    found = {kind: KINDS[kind]() for kind in kinds}
    if args.json:
        print(json.dumps(found, indent=2))
        return 0
    for number, (kind, rows) in enumerate(found.items()):
        print(("\n" if number else "") + kind)
        print(table(rows) if rows else "  none")
    return 0


def projects() -> list[Row]:
    """One row a plugin: name, summary, extra, and for a broken one `broken` with the reason."""
    from clipapps.project import BrokenProject, discover

    rows: list[Row] = []
    for name, project in discover().items():
        if isinstance(project, BrokenProject):
            rows.append({"name": name, "summary": "", "extra": None, "broken": project.reason})
        else:
            rows.append({"name": name, "summary": project.summary, "extra": project.extra, "broken": None})
    return rows


def configs() -> list[Row]:
    """One row a config: the name that `train` takes, and its file."""
    from clipapps.engine.config import list_configs

    return [{"name": name, "file": str(path)} for name, path in sorted(list_configs().items())]


def models() -> list[Row]:
    """One row an architecture that `CLIPBackbone(arch=...)` knows by name."""
    from clipapps.clip.open_clip_models import list_archs

    return [{"name": name} for name in list_archs()]


def weights() -> list[Row]:
    """One row a set of weights: what ships with the package, then the tags that are downloaded on demand."""
    from clipapps.clip.open_clip_models import list_archs, list_tags
    from clipapps.project import Project, discover

    rows: list[Row] = [{"name": name, "for": project.name, "source": "shipped"} for project in discover().values()
                       if isinstance(project, Project) for name in project.weights]
    return rows + [{"name": tag, "for": arch, "source": "shipped" if tag == "builtin" else "download"}
                   for arch in list_archs() for tag in list_tags(arch)]


KINDS: dict[str, Callable[[], list[Row]]] = {
    "projects": projects, "configs": configs, "models": models, "weights": weights}


def table(rows: list[Row]) -> str:
    """Rows as aligned text columns in the order of the first row's keys; empty cells stay empty.

    >>> print(table([{"name": "denseclip", "extra": "seg"}, {"name": "ila", "extra": None}]))
      denseclip  seg
      ila
    """
    cells = [["" if value is None else f"BROKEN: {value}" if key == "broken" else str(value)
              for key, value in row.items()] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True) if width).rstrip()
        for line in cells)
