"""`clipapps predict`: files or folders in, results out."""

from __future__ import annotations

import argparse

from clipapps.cli.parsing import Subparsers, verb_parser


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb's parser."""
    parser = verb_parser(
        subparsers, "predict", "run a project on files or folders", run,
        description="Works without --weights on the weights that ship with the project.",
        example='clipapps predict denseclip photo.jpg --classes "sky, road, tree" --out outputs\n'
                "clipapps predict denseclip photos/ --weights work_dirs/mine/best.safetensors")
    parser.add_argument("project", metavar="PROJECT", help="a name from `clipapps list projects`")
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help="image files or folders")
    parser.add_argument("--weights", metavar="W", help="a checkpoint of this project (default: the shipped weights)")
    parser.add_argument("--out", metavar="D", default="outputs", help="folder for the results (default: outputs)")
    parser.add_argument("--device", default="auto", metavar="DEVICE", help="cpu, cuda, or auto (default)")
    parser.add_argument("--classes", metavar="NAMES", help="class names, separated by commas")
    parser.add_argument("--strength", type=float, metavar="S", help="of an enhancement, 0 (none) to 1 (full)")
    parser.add_argument("--max-gain", type=float, metavar="G", help="factor that an enhancement brightens by at most")
    parser.add_argument("--protect-highlights", action="store_true", default=None,
                        help="an enhancement cuts no channel off at white")


def run(args: argparse.Namespace) -> int:
    """Predict every input; a file that cannot be read is reported at the end and the others are done."""
    from clipapps.errors import BadSampleError, UserError
    from clipapps.inference import list_image_files, load, unique_names

    files = [file for path in args.inputs for file in list_image_files(path)]
    options = {name: value for name in ("strength", "max_gain", "protect_highlights")
               if (value := getattr(args, name)) is not None}
    if args.classes is not None:
        options["classes"] = [name.strip() for name in args.classes.split(",") if name.strip()]
        if not options["classes"]:
            raise UserError("--classes names no class; write for example --classes \"sky, road, tree\".")
    inferencer = load(args.project, args.weights, device=args.device, **options)
    failures = []
    for name, file in zip(unique_names(files), files, strict=True):
        try:
            for result in inferencer.stream(file):
                result.name = name
                print(*result.save(args.out), sep="  ")
        except BadSampleError as error:
            failures.append(str(error))
    if failures:
        raise BadSampleError(f"{len(failures)} of {len(files)} inputs could not be used:\n" + "\n".join(failures))
    return 0
