"""The README's quick start, run as it is pasted: each command of it succeeds, in an empty directory of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli.processes import python_environment

ROOT = Path(__file__).resolve().parents[2]


def quick_start() -> str:
    """Return the commands for a network of one's own, but those that set up Python's environment."""
    text = (ROOT / "README.md").read_text("utf-8")
    (block,) = re.findall(r"\n    make setup .*\n((?:    .*\n|\n)+)", text)
    first, commands = block.split("\n", 1)
    assert first == "    . .venv/bin/activate"
    return re.sub("^    ", "", commands, flags=re.MULTILINE)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A shell's, where `mulu` runs this source, and nothing of ours is set."""
    mulu = tmp_path / "bin" / "mulu"
    mulu.parent.mkdir()
    mulu.write_text(f'#!/bin/sh\nexec {sys.executable} -m cli "$@"\n', "ascii")
    mulu.chmod(0o755)
    environment = {
        name: value
        for name, value in python_environment().items()
        if not name.startswith("MULU_") or name == "MULU_PORTS"
    }
    return {**environment, "PATH": f"{mulu.parent}:{os.environ['PATH']}"}


def test_the_quick_start_runs_as_it_is_pasted(tmp_path: Path, environment: dict[str, str]) -> None:
    place = tmp_path / "checkout"
    place.mkdir()
    (place / "cli").symlink_to(ROOT / "cli")
    stop = 'trap "mulu network stop >/dev/null" EXIT\n'
    script = f"set -eu\nexport PYTHONSAFEPATH=1\n{quick_start()}".replace(
        "mulu network start\n", f"{stop}mulu network start\n", 1
    )
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert "mulu directory approve responsibility --all --profile tongzhou-approver" in said
    assert "Approved 8" in said
    assert "\nValid.\n" in done.stdout
    assert "Stopped: beijing, tianjin, hebei, national, xiongan." in done.stdout
