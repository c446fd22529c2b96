"""`python -m clipapps` is `clipapps`; `torchrun -m clipapps train ... --launcher pytorch` starts several processes."""

from __future__ import annotations

import sys

from clipapps.cli.main import main

if __name__ == "__main__":  # a spawned data-loader worker imports this file again
    sys.exit(main())
