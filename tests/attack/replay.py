"""Build the attacked ledger anew and print the application hashes of its tip and of recorded blocks on top of it.

Run as a process of its own, under another hash seed: `python -m tests.attack.replay FILE`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from ledger.codec import decode
from tests.attack.judge import app_hashes
from tests.attack.world import open_world


def main(recorded: Path) -> None:
    blocks = decode(recorded.read_bytes())
    assert isinstance(blocks, tuple)
    with tempfile.TemporaryDirectory() as directory:
        world = open_world(Path(directory) / "world")
        print(world.application.tip.app_hash.hex())
        print("\n".join(app_hashes(world.application, [bytes(one) for one in blocks])))
        world.ledger.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
