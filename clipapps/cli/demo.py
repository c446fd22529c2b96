"""`clipapps demo [PROJECT]`: the demo page in the browser."""

from __future__ import annotations

import argparse
import ipaddress
import secrets

from clipapps.cli.parsing import Subparsers, verb_parser

USER = "clipapps"


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb to the command line."""
    parser = verb_parser(
        subparsers, "demo", "open the demo page in the browser", run,
        example="clipapps demo\nclipapps demo denseclip --port 7861",
        description="Served on this machine alone, unless --host says otherwise. Nothing is sent anywhere.")
    parser.add_argument("project", metavar="PROJECT", nargs="?", help="only this project's tab (default: all)")
    parser.add_argument("--host", default="127.0.0.1", metavar="H",
                        help="address to listen on (default: 127.0.0.1, this machine alone; others ask for a password)")
    parser.add_argument("--port", type=int, metavar="P", help="port (default: the first free one from 7860)")


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own, which nobody else can reach.

    >>> is_loopback("127.0.0.1"), is_loopback("0.0.0.0")
    (True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted."""
    import os

    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from clipapps.demos.app import launch
    from clipapps.errors import UserError

    password = "" if is_loopback(args.host) else secrets.token_urlsafe(9)
    try:
        _, address, _ = launch(args.project, host=args.host, port=args.port, prevent_thread_lock=True,
                               auth=(USER, password) if password else None)
    except OSError as error:
        raise UserError(f"The demo cannot listen on {args.host}, port {args.port or '7860 to 7959'}: another program "
                        "may be there. Choose another one with --port.") from error
    print(f"The demo is at {address}  (Ctrl-C ends it)", flush=True)
    if password:
        print(f"Others on the network can reach it; it asks them for the name {USER} and the password {password}",
              flush=True)
    import threading

    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        print("Ended.")
    return 0
