"""`clipapps export PROJECT|CONFIG --weights W --format onnx|torch_export`: a model as one file for other runtimes."""

from __future__ import annotations

import argparse

from clipapps.cli.parsing import Subparsers, verb_parser
from clipapps.errors import UserError


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb to the command line."""
    parser = verb_parser(
        subparsers, "export", "write a trained model as ONNX or as a torch.export program", run,
        description="One file with a fixed list of classes and any input size; it runs without this package, and is "
                    "compared with the model at three sizes before it is written.",
        example="clipapps export denseclip --weights work_dirs/mine/best.safetensors --format onnx --out mine.onnx\n"
                "clipapps export denseclip/maskclip_tiny_toyworld --format torch_export --classes \"star, tree\"")
    parser.add_argument("what", metavar="PROJECT|CONFIG",
                        help="a project, when its weights say which config they belong to; or that config")
    parser.add_argument("--weights", metavar="W", help="a checkpoint of this project; not for training-free configs")
    parser.add_argument("--format", default="onnx", choices=("onnx", "torch_export"),
                        help="onnx (default), or torch_export, a .pt2 file for torch.export.load")
    parser.add_argument("--out", metavar="F", help="the file to write (default: beside the weights)")
    parser.add_argument("--classes", metavar="NAMES", help="class names, separated by commas, to fix in the file")
    parser.add_argument("--size", nargs=2, type=int, metavar=("H", "W"),
                        help="size in pixels to trace at (default: that of training); other sizes run, too")
    parser.add_argument("--force", action="store_true", help="replace the file where it exists")


def run(args: argparse.Namespace) -> int:
    """Export, and print how the file compares with the model."""
    from clipapps.engine.export import export

    classes = None
    if args.classes is not None:
        classes = [name.strip() for name in args.classes.split(",") if name.strip()]
        if not classes:
            raise UserError("--classes names no class; write for example --classes \"sky, road, tree\".")
    report = export(args.what, args.weights, args.out, kind=args.format, classes=classes,
                    size=tuple(args.size) if args.size else None, force=args.force)
    print(f"{report.path}  {report.num_bytes / 2**20:.1f} MiB")
    for number, found in enumerate(report.comparisons):
        height, width = found.size
        print(f"  {height} x {width}{' (traced)' if number == 0 else ''}: differs from the model by at most "
              f"{found.difference:.1e} (largest output {found.largest:.3g})")
    return 0
