"""CometBFT under test: whether it is installed, and the processes of a node that runs with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.processes import process_family
from consensus.cometbft.release import INSTALL_COMMAND
from node.cometbft.program import find_engine
from node.errors import InvalidConfiguration


def is_installed() -> bool:
    try:
        find_engine()
    except InvalidConfiguration:
        return False
    return True


needs_cometbft = pytest.mark.skipif(
    not is_installed(), reason=f"CometBFT is not installed: {INSTALL_COMMAND}"
)


def parts(supervisor: int) -> dict[str, int]:
    """Return the process ids of a node's application and engine, as far as they run."""
    found = {}
    for process_id in process_family(supervisor)[1:]:
        try:
            command = Path(f"/proc/{process_id}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"--supervised" in command:
            found["application"] = process_id
        elif b"start" in command:
            found["cometbft"] = process_id
    return found
