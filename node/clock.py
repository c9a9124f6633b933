"""The node's clock, read in one place."""

from __future__ import annotations

import time


def clock_ms() -> int:
    """Return this node's clock in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
