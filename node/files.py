"""Names of files in a node's home that all its processes know, also those that import little."""

from __future__ import annotations

from typing import Final

PROCESS_ID_FILE: Final = "node.pid"
"""Under which process id the node runs."""
