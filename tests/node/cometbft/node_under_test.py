"""`python -m tests.node.cometbft.node_under_test <home>`: the real node with less patience, and one that disagrees.

From the moment that the file DISAGREES names is there, this node takes the time of each block for a millisecond later
than it is, and so gets other entries in its log than everybody else.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from consensus.cometbft import mapping
from node.cometbft.program import supervised_home
from node.cometbft.standstill import Standstill
from node.cometbft.supervisor import SET_ASIDE, SUPERVISED, supervise
from node.main import run_node

MODULE = "tests.node.cometbft.node_under_test"
PATIENCE_S = 5.0


def disagree_from(order: Path) -> None:
    """Take another time for a block's than CometBFT gives, as soon as the file is there."""
    time_ms = mapping.time_ms
    mapping.time_ms = lambda timestamp: time_ms(timestamp) + order.exists()


def main(arguments: list[str]) -> int:
    """Run the node of a home, with the options of `python -m node`."""
    options, home = arguments[:-1], Path(arguments[-1])
    wanted = None if options else supervised_home(home)
    if wanted is not None:
        return supervise(home, wanted, module=MODULE)
    Standstill.PATIENCE_S = PATIENCE_S
    if "DISAGREES" in os.environ:
        disagree_from(Path(os.environ["DISAGREES"]))
    return run_node(home, supervised=SUPERVISED in options, set_aside=SET_ASIDE in options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
