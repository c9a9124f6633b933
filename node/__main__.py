"""`python -m node <home>`: run the node of a home directory."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from node.main import run_node

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m node HOME")
    sys.exit(run_node(Path(sys.argv[1]), os.environ.get("MULU_PASSPHRASE", "")))
