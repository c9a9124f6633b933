"""Python's collector of cycles, set for programs whose objects are nearly all free of them."""

from __future__ import annotations

import gc
from typing import Final

START_THRESHOLD: Final = 300_000
"""Objects made before the collector looks at the youngest: more than all imports of a node make."""

THRESHOLDS: Final = (200_000, 10, 25)
"""Of a running node: objects made before a collection of the youngest, collections before the next older ones.

A full block of thousands of operations makes about as many objects as the first: looked at sooner, most are still in
use, looked at then, most have gone.
"""


def collect_rarely() -> None:
    """Let a program start, and a command run, without looking for cycles: it saves a seventh of a node's start."""
    gc.set_threshold(START_THRESHOLD)


def settle() -> None:
    """Look for cycles as a running node does, and never again among what has been imported and made so far."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
