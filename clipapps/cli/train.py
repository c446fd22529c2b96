"""`clipapps train CONFIG`: train a config and leave everything about the run in one folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from clipapps.cli.parsing import CONFIG_HELP, Subparsers, add_overrides, verb_parser


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb to the command line."""
    parser = verb_parser(
        subparsers, "train", "train a config", run,
        example="clipapps train denseclip/denseclip_fpn_tiny_toyworld\n"
                "clipapps train my_config.py --work-dir runs/first --seed 1 train_cfg.max_iters=500\n"
                "clipapps train my_config.py --work-dir runs/first --resume",
        description="Writes config.py, scalars.jsonl, curves.png, pictures, checkpoints and metrics.json.")
    parser.add_argument("config", metavar="CONFIG", help=CONFIG_HELP)
    parser.add_argument("--work-dir", metavar="D", help="folder of the run (default: work_dirs/<config name>)")
    parser.add_argument("--resume", nargs="?", const=True, default=False, metavar="FILE",
                        help="go on from FILE, or from the newest checkpoint of the work folder")
    parser.add_argument("--force", action="store_true",
                        help="with --resume: go on although the model has changed, with the weights that fit")
    parser.add_argument("--seed", type=int, metavar="N",
                        help="seed of all random numbers (default: the config's, or 0)")
    parser.add_argument("--amp", action="store_true", help="mixed precision")
    parser.add_argument("--device", default="auto", metavar="cpu|cuda|auto", help="where to run (default: auto)")
    parser.add_argument("--launcher", choices=("none", "pytorch"), default="none",
                        help="pytorch: this process was started by torchrun")
    add_overrides(parser)


def run(args: argparse.Namespace) -> int:
    """Train and print where the results are."""
    from clipapps.engine import runner
    from clipapps.engine.config import load_config
    from clipapps.engine.config_name import config_name
    from clipapps.engine.report import print_results
    from clipapps.engine.run_config import process_rank
    from clipapps.errors import UserError

    resume, overrides = _split_resume(args.resume, args.overrides)
    if args.force and resume is False:
        raise UserError("--force goes with --resume: it goes on with a run whose model has changed.")
    cfg = load_config(args.config, overrides)
    work_dir = Path(args.work_dir or cfg.get("work_dir") or f"work_dirs/{config_name(args.config)}")
    metrics = runner.train(cfg, work_dir, seed=args.seed, resume=resume, device=args.device, amp=args.amp,
                           launcher=args.launcher, force=args.force)
    if process_rank(args.launcher) == 0:
        print_results(metrics, work_dir)
    return 0


def _split_resume(resume: str | bool, overrides: list[str]) -> tuple[str | bool, list[str]]:
    """`--resume a.b=c`: argparse takes the override for FILE; give it back."""
    if isinstance(resume, str) and "=" in resume and not Path(resume).exists():
        return True, [resume, *overrides]
    return resume, overrides
