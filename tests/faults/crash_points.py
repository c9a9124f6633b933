"""Numbered points around every write, at which a process under test dies."""

from __future__ import annotations


def arm(point: str) -> None:
    """Die at a point."""
    raise NotImplementedError(point)
