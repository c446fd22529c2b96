"""`clipapps predict`: files or folders in, results out; what a project adds to the options stands in its record."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from clipapps.cli.parsing import Subparsers, verb_parser

if TYPE_CHECKING:
    from clipapps.data.inputs import Job
    from clipapps.engine.ledger import Ledger
    from clipapps.inference import Inferencer
    from clipapps.project import Project

CAMERA = "camera:"


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb's parser."""
    parser = verb_parser(
        subparsers, "predict", "run a project on files or folders", run,
        description="Works without --weights on the weights that ship with the project. `clipapps predict PROJECT "
                    "--help` shows the project's own options. A command that was stopped goes on when it is repeated; "
                    "no input is ever replaced.",
        example='clipapps predict denseclip photo.jpg --classes "sky, road, tree" --out outputs\n'
                "clipapps predict denseclip photos/ --weights work_dirs/mine/best.safetensors\n"
                "clipapps predict backlit holidays/ --recursive --strength 0.8 --out brighter")
    parser.add_argument("project", metavar="PROJECT", help="a name from `clipapps list projects`")
    parser.add_argument("inputs", metavar="INPUT", nargs="+",
                        help="files or folders; camera:0 for a camera, until Ctrl-C, where the project takes one")
    parser.add_argument("--weights", metavar="W",
                        help="a checkpoint of this project, or a name from `clipapps list weights` (default: the "
                             "shipped weights)")
    parser.add_argument("--out", metavar="D", default="outputs", help="folder for the results (default: outputs)")
    parser.add_argument("--device", default="auto", metavar="DEVICE", help="cpu, cuda, or auto (default)")
    parser.add_argument("--precision", default="float32", metavar="P",
                        help="float32 (default), bfloat16, or float16 on a GPU")
    parser.add_argument("--recursive", action="store_true",
                        help="sub-folders as well; the results lie in sub-folders of the same names")
    parser.add_argument("--overwrite", action="store_true",
                        help="make results anew that are there already (default: where input or options changed)")


def complete_parser(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> None:
    """Add the options of the project that the command line names.

    Raises:
        UserError: there is no such project.
    """
    from clipapps.project import discover, get_project

    takes_value = {option for action in parser._actions if action.nargs is None for option in action.option_strings}
    words = [word for before, word in zip(["", *arguments], arguments, strict=False)
             if not word.startswith("-") and before not in takes_value]
    if not words:
        return
    project = get_project(next((word for word in words if word in discover()), words[0]))
    group = parser.add_argument_group(f"options of {project.name}")
    for option in project.predict_options:
        if option.convert is None:
            group.add_argument(option.flag, action="store_true", default=None, help=option.help)
        else:
            group.add_argument(option.flag, type=option.convert, metavar=option.metavar, help=option.help)


def run(args: argparse.Namespace) -> int:
    """Predict every input; a file that cannot be used is reported at the end and the others are done."""
    from pathlib import Path

    from clipapps.errors import BadSampleError, DataError
    from clipapps.inference import load
    from clipapps.project import get_project

    cameras = [item for item in args.inputs if item.startswith(CAMERA) and item[len(CAMERA):].isdecimal()]
    if missing := [path for path in args.inputs if path not in cameras and not Path(path).exists()]:
        raise DataError(f"There is no file or folder {missing[0]}.")
    project = get_project(args.project)
    options = _options(project, args)
    inferencer = load(project.name, args.weights, device=args.device, precision=args.precision, **options)
    if cameras:
        return _watch(args, inferencer)
    jobs, ledger = _plan(args, inferencer, options)
    if args.overwrite:
        todo = jobs
    else:
        todo = [job for job in jobs if not ledger.is_done(job.source)]
        if len(todo) < len(jobs):
            print(f"{len(jobs) - len(todo)} of {len(jobs)} inputs are done already; --overwrite does them anew.",
                  file=sys.stderr)
    failures = _work(todo, jobs, inferencer, ledger)
    if failures:
        raise BadSampleError(f"{len(failures)} of {len(jobs)} inputs could not be used:\n" + "\n".join(failures))
    return 0


def _watch(args: argparse.Namespace, inferencer: Inferencer) -> int:
    """Save what a camera shows, result by result, until somebody stops it."""
    from clipapps.errors import UserError

    if len(args.inputs) != 1 or not inferencer.watches_cameras:
        raise UserError("A camera is watched alone, without other inputs." if inferencer.watches_cameras else
                        f"{args.project} takes files and folders, and no camera.")
    for result in inferencer.stream(int(args.inputs[0].removeprefix(CAMERA))):
        print("  ".join(map(str, result.save(args.out))), flush=True)
    return 0


def _options(project: Project, args: argparse.Namespace) -> dict[str, Any]:
    """The project's own options that were given."""
    return {option.name: value for option in project.predict_options
            if (value := getattr(args, option.name, None)) is not None}


def _plan(args: argparse.Namespace, inferencer: Inferencer, options: dict[str, Any]) -> tuple[list[Job], Ledger]:
    """What there is to do, and what has been done."""
    import os

    from clipapps import __version__
    from clipapps.data.inputs import plan_jobs
    from clipapps.engine.ledger import Ledger
    from clipapps.project import get_project

    file = get_project(args.project).weights_file(args.weights)
    facts = os.stat(file) if file else None
    weights = [os.path.abspath(file), facts.st_size, facts.st_mtime_ns] if file and facts else __version__
    ledger = Ledger(args.out, dict(project=args.project, weights=weights, options=options, precision=args.precision))
    return plan_jobs(args.inputs, args.out, suffixes=inferencer.suffixes, is_recursive=args.recursive,
                     skipped=ledger.outputs), ledger


def _work(todo: list[Job], jobs: list[Job], inferencer: Inferencer, ledger: Ledger) -> list[str]:
    """Do the jobs one by one under a progress bar; returns what is wrong with those that failed."""
    from functools import partial

    from tqdm import tqdm

    from clipapps.data.inputs import places
    from clipapps.engine.atomic import remove_stale
    from clipapps.errors import DataError

    for folder in {job.folder for job in todo}:
        remove_stale(folder)  # half-written files of a run that was killed
    protected, failures = places([job.source for job in jobs]), []
    layout = "{desc}{percentage:3.0f}%|{bar}| {n:.3g}/{total_fmt} [{elapsed}<{remaining}]"
    # `disable=None` draws it on terminals only
    with tqdm(total=len(todo), disable=None, leave=False, miniters=0, bar_format=layout) as bar:
        for number, job in enumerate(todo):
            bar.set_description_str(f"{job.source.name} ", refresh=False)
            bar.update(number - bar.n)
            inferencer.progress = partial(_show, bar, number)
            try:
                outputs = []
                for result in inferencer.stream(job.source):
                    result.name, result.protected = job.name, protected
                    outputs += result.save(job.folder)
            except DataError as error:
                failures.append(str(error))
                continue
            ledger.add(job.source, outputs)
            bar.write("  ".join(map(str, outputs)))
    return failures


def _show(bar: Any, number: int, share: float) -> None:
    """Draw the share of job `number` that is done."""
    bar.update(number + share - bar.n)
