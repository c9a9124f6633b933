"""A promise that the interpreter keeps: from a certain point on, this process opens no socket."""

from __future__ import annotations

import sys
from typing import Any

from cli.output import CommandError


def forbid_sockets() -> None:
    """Refuse every socket that anything in this process tries to open from now on. Cannot be undone."""
    sys.addaudithook(_refuse)


def _refuse(event: str, _arguments: tuple[Any, ...]) -> None:
    if event.startswith("socket."):
        raise CommandError(f"offline verification tried {event}; this is a bug of Mulu's")
