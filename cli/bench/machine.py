"""What is measured on: processor, cores, Python, Snappy, the commit; and what a signature check costs here and now."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import time
from importlib.metadata import files
from pathlib import Path
from typing import Any, Final

from ledger.base64url import base64url_encode
from ledger.keys import SoftwareSigner
from ledger.suite import SHA256_ED25519

_CHECKS: Final = 1_000
"""Signature checks by which the machine is judged: some 50 ms, before the load and after it."""

LOAD_BEFORE: Final = os.getloadavg()[0]
"""Processes that ran or waited in the minute before: read when a command loads this, before it measures."""

_ROOT: Final = Path(__file__).resolve().parent.parent.parent


def describe_machine() -> dict[str, Any]:
    """Return what figures depend on, and whether others used the machine before the start.

    The commit is None outside a checkout; `+` marks one with changes.
    """
    return {
        "processor": _processor(),
        "cores": cores(),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "snappy": snappy(),
        "commit": _commit(),
        **describe_load(LOAD_BEFORE, cores()),
    }


def describe_load(load: float, cores: int) -> dict[str, Any]:
    """Return a load average, with a note where more than half the cores had work before any of ours."""
    found: dict[str, Any] = {"load_average_before": round(load, 2)}
    if load > cores / 2:
        found["note"] = (
            "the machine was busy before the start: figures are worse than on a quiet one"
        )
    return found


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def signature_check_us() -> float:
    """Return the CPU time of one signature check, in microseconds."""
    signer, message = SoftwareSigner.generate(), bytes(320)
    signature = signer.sign(message)
    started = time.process_time()
    for _ in range(_CHECKS):
        assert SHA256_ED25519.verify(signer.public_key, message, signature)
    return (time.process_time() - started) / _CHECKS * 1e6


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", errors="replace")
    except OSError:
        return platform.processor()
    names = (
        line.partition(":")[2].strip()
        for line in text.splitlines()
        if line.startswith("model name")
    )
    return next(names, platform.machine())


def snappy() -> str:
    """Tell whose Snappy LevelDB has: compaction takes twice as long with that of plyvel's wheel (ADR 11)."""
    # Any other file than the wheel's is one that was put in its place, or plyvel was built here.
    for file in files("plyvel") or ():
        if file.name.startswith("libsnappy-") and file.hash is not None:
            digest = hashlib.sha256(file.read_binary()).digest()
            if base64url_encode(digest) == file.hash.value:
                return "of plyvel's wheel"
    return "of the system"


def _commit() -> str | None:
    if not (_ROOT / ".git").exists():
        return None
    try:
        commit, changes = (
            subprocess.run(
                ["git", "-C", str(_ROOT), *words],
                capture_output=True,
                text=True,
                check=True,
                timeout=10,
            ).stdout.strip()
            for words in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "-uno"))
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + "+" * bool(changes)
