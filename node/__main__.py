"""`python -m node [--supervised [--set-aside]] <home>`: run the node of a home directory.

With CometBFT, this process supervises two others, and starts the node itself with `--supervised`; people never do.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from node.collector import collect_rarely
from node.cometbft.program import supervised_home
from node.cometbft.supervisor import SET_ASIDE, SUPERVISED, supervise

USAGE = f"usage: python -m node [{SUPERVISED} [{SET_ASIDE}]] HOME"


def main(arguments: list[str]) -> int | str:
    """Run what the arguments ask for; return the exit status, or the text of an error."""
    options, home = arguments[:-1], Path(arguments[-1] if arguments else "")
    if not arguments or options not in ([], [SUPERVISED], [SUPERVISED, SET_ASIDE]):
        return USAGE
    wanted = None if options else supervised_home(home)
    if wanted is not None:
        return supervise(home, wanted)
    collect_rarely()
    from node.main import run_node  # all of the node, which a supervisor does not need

    return run_node(
        home,
        os.environ.get("MULU_PASSPHRASE", ""),
        supervised=SUPERVISED in options,
        set_aside=SET_ASIDE in options,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
