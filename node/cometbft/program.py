"""CometBFT's program on this machine, and whether a node's home asks for it. Light: nothing of the node is imported."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from consensus.cometbft.release import INSTALL_COMMAND, VERSION
from node.errors import InvalidConfiguration

_NUMBERS: Final = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(?:\+.*)?", re.ASCII)
"""A release's; not those of one before it, `0.38.25-rc1` say."""


@dataclass(frozen=True, slots=True)
class SupervisedHome:
    """What the supervisor needs to know of a home whose engine is CometBFT."""

    name: str
    log_level: str
    log_format: str


def supervised_home(home: Path) -> SupervisedHome | None:
    """Return what a supervisor needs, or None if this home's node runs without one.

    That is so, too, where its config.toml cannot be read: the node itself says best what is wrong with it.
    """
    try:
        config: dict[str, Any] = tomllib.loads((home / "config.toml").read_text("utf-8"))
        if config["consensus"]["engine"] != "cometbft":
            return None
        log = config.get("log", {})
        level, form = log.get("level", "info"), log.get("format", "json")
        if level not in ("debug", "info", "warning", "error") or form not in ("json", "console"):
            return None
        return SupervisedHome(str(config["name"]), level, form)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def find_engine() -> Path:
    """Return CometBFT's program: what MULU_COMETBFT names, or beside our Python, on PATH, or where Go installs it.

    Raises:
        InvalidConfiguration: there is none, or it is of another version; the text says how to install it.
    """
    named = os.environ.get("MULU_COMETBFT")
    if named and shutil.which(named) is None:
        raise InvalidConfiguration(
            f"MULU_COMETBFT names {named}, which is no file that can be run. Correct the variable or unset it; "
            f"what installs CometBFT: {INSTALL_COMMAND}"
        )
    found = named or _search()
    if found is None:
        raise InvalidConfiguration(f"CometBFT is not installed. Install it: {INSTALL_COMMAND}")
    version = _version_of(found)
    if not _serves(version):
        raise InvalidConfiguration(
            f"{found} is CometBFT {version or 'of an unknown version'}, "
            f"{VERSION} or a later one of its line is needed. Install it: {INSTALL_COMMAND}"
        )
    return Path(found)


def _serves(version: str) -> bool:
    """Tell whether a version is of the line that we need, and not older than what we have tried and read."""
    found, needed = _NUMBERS.fullmatch(version), _NUMBERS.fullmatch(VERSION)
    assert needed is not None, "our own text"
    if found is None:
        return False
    have, need = [int(one) for one in found.groups()], [int(one) for one in needed.groups()]
    return have[:2] == need[:2] and have[2] >= need[2]


def _search() -> str | None:
    go_path = os.environ.get("GOPATH") or str(Path.home() / "go")
    places = (str(Path(sys.executable).parent), os.environ.get("GOBIN") or f"{go_path}/bin")
    return (
        shutil.which("cometbft", path=places[0])
        or shutil.which("cometbft")
        or shutil.which("cometbft", path=places[1])
    )


def _version_of(program: str) -> str:
    try:
        told = subprocess.run([program, "version"], capture_output=True, text=True, timeout=10.0)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return told.stdout.strip()
