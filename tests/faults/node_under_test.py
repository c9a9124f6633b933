"""`python -m tests.faults.node_under_test <home>`: the real node, with a witness of all that its keys sign.

Whatever guard and checkpoint signer release is first appended to the file that SIGNATURES names, one JSON line each:
the key, the place (height, round and step; or a checkpoint's size) and the SHA-256 of what was signed. The file lies
outside everything that faults are injected into: double signing shows however often the process was killed.

CRASH_ORDER names the file in which a test orders the process to die at a point; see `crash_points`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from node.collector import collect_rarely
from node.cometbft.program import supervised_home
from node.cometbft.supervisor import SET_ASIDE, SUPERVISED, supervise

MODULE = "tests.faults.node_under_test"


def main(arguments: list[str]) -> int:
    """Run the node of a home, with the options of `python -m node`."""
    options, home = arguments[:-1], Path(arguments[-1])
    wanted = None if options else supervised_home(home)
    if wanted is not None:
        return supervise(home, wanted, module=MODULE)
    collect_rarely()
    from node.main import run_node
    from tests.faults import crash_points
    from tests.faults.witness import Witness, witness_signatures

    witness_signatures(Witness(Path(os.environ["SIGNATURES"])))
    if "CRASH_ORDER" in os.environ:
        crash_points.arm(Path(os.environ["CRASH_ORDER"]))
    return run_node(home, supervised=SUPERVISED in options, set_aside=SET_ASIDE in options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
