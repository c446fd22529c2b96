"""`clipapps doctor`: one pasteable block that says what is installed and what is wrong with it."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from clipapps.cli.parsing import Subparsers, verb_parser

MARKS = {"ok": "  ", "note": "? ", "broken": "X "}


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb's parser."""
    parser = verb_parser(subparsers, "doctor", "check the installation and print a block to paste into an issue", run,
                         example="clipapps doctor", description="Exit code 1 if something that is required is broken.")
    parser.add_argument("--json", action="store_true", help="print the findings for other programs")


def run(args: argparse.Namespace) -> int:
    """Print every finding by section, then the cures; 1 if a required thing is broken."""
    from clipapps.cli import environment

    versions = environment.installed()
    sections = {
        "system": list(environment.system()),
        "packages": list(environment.requirements(versions)),
        "conflicts": list(environment.conflicts(versions)) or [environment.Finding("none")],
        "system libraries": list(environment.libraries(versions)),
        "accelerator": [*environment.imports(), *environment.accelerator()],
        "disk": list(environment.disk()),
        "plugins": list(environment.plugins()),
    }
    broken = [finding for found in sections.values() for finding in found if finding.level == environment.BROKEN]
    if args.json:
        print(json.dumps({name: [asdict(finding) for finding in found] for name, found in sections.items()}, indent=2))
        return 1 if broken else 0
    for name, found in sections.items():
        print(f"{name}")
        for finding in found:
            print(f"{MARKS[finding.level]}{finding.text}" + (f"  ->  {finding.cure}" if finding.cure else ""))
    print(f"\n{len(broken)} broken" if broken else "\nnothing that is required is broken")
    return 1 if broken else 0
