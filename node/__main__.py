"""`python -m node [--application] <home>`: run the node of a home directory.

With CometBFT, a supervisor starts the node itself with `--application`; people never do.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from node.main import run_node

if __name__ == "__main__":
    arguments = sys.argv[1:]
    supervised = arguments[:1] == ["--application"]
    if len(arguments) != 1 + supervised:
        sys.exit("usage: python -m node [--application] HOME")
    sys.exit(
        run_node(Path(arguments[-1]), os.environ.get("MULU_PASSPHRASE", ""), supervised=supervised)
    )
