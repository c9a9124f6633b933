"""Runs the stock Go client of this folder against a log, given as a directory or a base URL."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).parent
_OFFLINE = ("dial tcp", "no such host", "proxyconnect", "i/o timeout", "module lookup disabled")


def build_stock_client(directory: Path) -> Path:
    """Build the client in `directory` and return its path; skip the test where Go or its modules are out of reach."""
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        pytest.skip("Go is not installed: the stock client cannot be built")
    program = directory / "logcheck"
    built = subprocess.run(
        [go, "build", "-mod=readonly", "-o", str(program), "."],
        cwd=SOURCE,
        env={**os.environ, "GOFLAGS": "", "GOTOOLCHAIN": "local"},
        capture_output=True,
        text=True,
        timeout=150,
    )
    if built.returncode != 0 and any(word in built.stderr for word in _OFFLINE):
        pytest.skip("golang.org/x/mod cannot be downloaded here")
    assert built.returncode == 0, built.stderr
    return program


def run_stock_client(
    program: Path,
    location: str,
    log_keys: Sequence[str],
    *,
    old_checkpoint: Path | None = None,
    entries: Sequence[tuple[int, Path]] = (),
    entry_bundles: bool = False,
    limit: int = 500,
) -> subprocess.CompletedProcess[str]:
    """Run the client; exit status 0 means that everything verified, and stdout is then one JSON object."""
    command = [str(program), "-limit", str(limit)]
    for key in log_keys:
        command += ["-key", key]
    for index, path in entries:
        command += ["-entry", f"{index}={path}"]
    if old_checkpoint is not None:
        command += ["-old", str(old_checkpoint)]
    if entry_bundles:
        command.append("-entries")
    return subprocess.run([*command, location], capture_output=True, text=True, timeout=120)


def verified_by_stock_client(
    program: Path, location: str, log_keys: Sequence[str], **options: Any
) -> dict[str, Any]:
    """Run the client, assert that everything verified, and return its report."""
    result = run_stock_client(program, location, log_keys, **options)
    assert result.returncode == 0, result.stderr
    report: dict[str, Any] = json.loads(result.stdout)
    return report
