"""The command line: `clipapps <verb>`, one short module a verb.

A verb module `clipapps/cli/<verb>.py` has exactly two public functions, and no heavy import at module level:

    def add_parser(subparsers: Subparsers) -> None:
        parser = verb_parser(subparsers, "test", "evaluate weights on a config's test set", run,
                             example="clipapps test denseclip/fpn_tiny_toyworld work_dirs/x/best.safetensors")
        parser.add_argument("config", metavar="CONFIG", help=CONFIG_HELP)
        parser.add_argument("weights", metavar="WEIGHTS", help="a file ...")
        parser.add_argument("--out", metavar="D", help="...")
        add_overrides(parser)          # `--cfg-options a.b=c ...` and bare `a.b=c ...`, both in args.overrides

    def run(args: argparse.Namespace) -> int:
        from clipapps.engine import runner   # torch and everything heavy: here, inside
        ...
        return 0                             # the exit code

`verb_parser`, `add_overrides`, `CONFIG_HELP` and `Subparsers` come from `clipapps.cli.parsing`; a new verb is also a
word in `clipapps.cli.main.VERBS`. A verb raises `clipapps.errors` classes and prints results on stdout; `main` turns
every exception into one message on stderr and the exit code (2 input, 3 disk, 4 memory, 5 loss not finite, 130
interrupted, 1 our fault). `--traceback` is added to every verb by `verb_parser`. In a test:
`from clipapps.cli.main import main; assert main(["train", "x/y", "train_cfg.max_iters=5"]) == 0`.
"""
