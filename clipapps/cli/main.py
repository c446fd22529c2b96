"""Entry point of the console script: picks the verb's module and turns exceptions into messages and exit codes."""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import re
import sys
import traceback
import warnings
from collections.abc import Sequence

from clipapps import __version__
from clipapps.cli.parsing import HelpFormatter
from clipapps.errors import ClipAppsError, did_you_mean, is_out_of_memory

VERBS = ("quickstart", "list", "train", "test", "predict", "demo", "convert", "export", "config", "data", "doctor")

INPUT_WRONG, DISK, MEMORY, INTERRUPTED, OUR_FAULT = 2, 3, 4, 130, 1
# Said by libraries while they are imported; no user can or need do anything about them.
_HARMLESS_WARNINGS = ("Fail to import ``MultiScaleDeformableAttention``", "Failed to load image Python extension",
                      "Default ``avg_non_ignore`` is False")
_DISK_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
_PATH_ERRNOS = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one `clipapps` command line and return its exit code (see contract: 0, 1, 2, 3, 4, 5, 130).

    Sets TORCH_FORCE_WEIGHTS_ONLY_LOAD=1 for the process, so that no library below falls back to unsafe unpickling.

    >>> main(["lst"])
    2
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    for message in _HARMLESS_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    wants_traceback = "--traceback" in arguments
    try:
        args = _parse(arguments)
        return int(args.run(args) or 0)
    except SystemExit as stop:  # argparse: 0 after --help, 2 after a wrong option
        return stop.code if isinstance(stop.code, int) else OUR_FAULT
    except BrokenPipeError:  # `clipapps list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Exception, KeyboardInterrupt) as error:
        if wants_traceback:
            traceback.print_exception(error)
        message, code = explain(error)
        print(message, file=sys.stderr)
        return code


def explain(error: BaseException) -> tuple[str, int]:
    """The message for the user and the exit code that belong to an exception."""
    if isinstance(error, KeyboardInterrupt):
        return "Stopped.", INTERRUPTED
    if isinstance(error, ClipAppsError):
        return f"error: {_last_words(error)}", error.exit_code
    if isinstance(error, OSError) and error.errno in _DISK_ERRNOS | _PATH_ERRNOS:
        what = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
        if error.errno in _PATH_ERRNOS:
            return f"error: A path cannot be used. {what}. Choose another.", INPUT_WRONG
        return f"error: The disk refuses. {what}. Free some space, or choose a folder that may be written.", DISK
    if isinstance(error, ImportError) and (absent := _absent(error)):
        return f"error: {absent} `clipapps doctor` names what to install.", INPUT_WRONG
    if is_out_of_memory(error):
        return ("error: Out of memory. Try a smaller batch or a smaller image size, "
                "for example `train_dataloader.batch_size=2`."), MEMORY
    return (f"error: {type(error).__name__}: {_last_words(error)}\nThis looks like a fault in clipapps rather than in "
            "your input. The same command with --traceback shows where it happened; `clipapps doctor` checks the "
            "installation."), OUR_FAULT


def _absent(error: ImportError) -> str:
    """What the installation lacks, when that is why an import failed; empty for an import error of our own making."""
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.partition(".")[0] != "clipapps":
        return f"The package {error.name.partition('.')[0]!r} is not installed."
    library = re.match(r"(\S+): cannot open shared object file", str(error))
    return f"The system library {library[1]} is missing." if library else ""


def _last_words(error: BaseException) -> str:
    """The error's own sentence, without the worker's traceback that a DataLoader puts in front of it."""
    message = str(error)
    if "Original Traceback" not in message:
        return message
    ends = list(re.finditer(rf"^(?:[\w.]+\.)?{type(error).__name__}: ", message, flags=re.MULTILINE))
    return message[ends[-1].end():].strip() if ends else message.strip().splitlines()[-1]


def _parse(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line, importing only the module of the verb that is asked for."""
    verb = next((word for word in arguments if not word.startswith("-")), None)
    if verb is not None and verb not in VERBS:
        print(f"error: There is no verb {verb!r}.{did_you_mean(verb, VERBS)} `clipapps --help` lists them.",
              file=sys.stderr)
        raise SystemExit(INPUT_WRONG)
    parser = argparse.ArgumentParser(
        prog="clipapps", description="One shared CLIP backbone, one engine, and CLIP's downstream tasks as plugins.",
        epilog="example:\n  clipapps train denseclip/denseclip_fpn_tiny_toyworld --work-dir work_dirs/first\n\n"
               "`clipapps <verb> --help` explains a verb and shows an example.",
        formatter_class=HelpFormatter, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"clipapps {__version__}")
    parser.add_argument("--traceback", action="store_true", default=False, help="on an error, show the full traceback")
    subparsers = parser.add_subparsers(dest="verb", metavar="<verb>", title="verbs")
    for name in VERBS if verb is None else (verb,):
        module = importlib.import_module(f"clipapps.cli.{name}")
        module.add_parser(subparsers)
        if verb is not None and hasattr(module, "complete_parser"):  # options that depend on the other words
            module.complete_parser(subparsers.choices[verb], arguments[arguments.index(verb) + 1:])
    args, rest = parser.parse_known_args(arguments)
    if args.verb is None:
        parser.print_help()
        raise SystemExit(INPUT_WRONG)
    _take_overrides(subparsers.choices[args.verb], args, rest)
    return args


def _take_overrides(parser: argparse.ArgumentParser, args: argparse.Namespace, rest: list[str]) -> None:
    """Move bare `a.b=c` words into `args.overrides` where the verb has them; refuse every other leftover."""
    for word in rest:
        if hasattr(args, "overrides") and "=" in word and not word.startswith("-"):
            args.overrides = [*args.overrides, word]
        elif word.startswith("-"):
            options = [option for action in parser._actions for option in action.option_strings]
            parser.error(f"unknown option {word.split('=')[0]!r}.{did_you_mean(word.split('=')[0], options)}")
        else:
            parser.error(f"unexpected argument {word!r}"
                         + ("; an override is written a.b=c" if hasattr(args, "overrides") else ""))


if __name__ == "__main__":
    sys.exit(main())
