"""The demonstration, run as people run it; then its files, verified by commands that open no socket."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.demo.story import STEPS
from cli.processes import python_environment
from tests.node.cometbft.engine import needs_cometbft

MULU = (sys.executable, "-m", "cli")


def mulu(*words: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MULU, *words],
        env=python_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )


@pytest.fixture(
    scope="module", params=["tendermint", pytest.param("cometbft", marks=needs_cometbft)]
)
def told(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> tuple[Path, dict[str, Any]]:
    home = tmp_path_factory.mktemp("demo") / "home"
    words = ("demo", "--engine", request.param, "--exit", "--json", "--home", str(home))
    done = mulu(*words, timeout_s=170)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    return home, json.loads(line)


def test_every_step_of_the_story_succeeds(told: tuple[Path, dict[str, Any]]) -> None:
    _, summary = told
    assert summary["ok"] is True
    assert [step["name"] for step in summary["steps"]] == [name for name, _ in STEPS]
    assert all(step["ok"] for step in summary["steps"])
    assert (summary["validators"], summary["query_nodes"]) == (4, 1)


def test_all_five_nodes_end_with_the_same_application_hash(
    told: tuple[Path, dict[str, Any]],
) -> None:
    hashes = told[1]["app_hashes"]
    assert set(hashes) == {"beijing", "tianjin", "hebei", "national", "xiongan"}
    assert len(set(hashes.values())) == 1


def test_no_process_of_the_story_is_left(told: tuple[Path, dict[str, Any]]) -> None:
    home = str(told[0]).encode()
    left = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes()
        except OSError:
            continue
        if home in command and b"pytest" not in command:
            left.append(command)
    assert left == []


def test_every_node_s_data_verify_from_genesis(told: tuple[Path, dict[str, Any]]) -> None:
    home, summary = told
    for name in ("hebei", "xiongan"):
        report = mulu("node", "fsck", str(home / "nodes" / name), "--json")
        assert report.returncode == 0, report.stdout
        assert json.loads(report.stdout)["height"] == summary["height"]


@pytest.fixture
def files(told: tuple[Path, dict[str, Any]], tmp_path: Path) -> Path:
    """The story's files beside some that are wrong."""
    home, _ = told
    for name in ("permit.json", "permit.bundle", "revoked.bundle", "use.bundle", "policy.txt"):
        shutil.copy(home / name, tmp_path / name)
    (tmp_path / "garbage").write_bytes(b"\x00garbage\xff" * 30)
    policy = (home / "policy.txt").read_text("ascii")
    (tmp_path / "stricter.txt").write_text(
        policy.replace("more-than-two-thirds 3 ", "more-than-two-thirds 4 ")
    )
    lines = policy.splitlines(keepends=True)
    (tmp_path / "unasked.txt").write_text("".join(x for x in lines if not x.startswith("quorum")))
    (tmp_path / "none.txt").write_text(policy.replace("quorum more-than-two-thirds", "quorum none"))
    return tmp_path


VERDICTS = {
    "a valid license": ("permit.json", "permit.bundle", "policy.txt", 0),
    "a revoked license": ("permit.json", "revoked.bundle", "policy.txt", 1),
    "garbage": ("garbage", "permit.bundle", "policy.txt", 2),
    "a garbage bundle": ("permit.json", "garbage", "policy.txt", 2),
    "a garbage policy": ("permit.json", "permit.bundle", "garbage", 2),
    "a policy whose quorum is not met": ("permit.json", "permit.bundle", "stricter.txt", 3),
    "a policy without a quorum line": ("permit.json", "permit.bundle", "unasked.txt", 3),
    "a policy that asks for no quorum": ("permit.json", "permit.bundle", "none.txt", 3),
}


@pytest.mark.parametrize("case", VERDICTS)
def test_verification_of_a_license_exits_with_its_verdict(case: str, files: Path) -> None:
    credential, bundle, policy, code = VERDICTS[case]
    done = mulu(
        *("license", "verify", str(files / credential), "--offline"),
        *("--bundle", str(files / bundle), "--policy", str(files / policy)),
    )
    assert done.returncode == code, done.stdout + done.stderr


def test_an_anchor_that_is_too_old_establishes_nothing(files: Path) -> None:
    done = mulu(
        *("license", "verify", str(files / "permit.json"), "--offline", "--max-anchor-age", "0"),
        *("--bundle", str(files / "permit.bundle"), "--policy", str(files / "policy.txt")),
    )
    assert done.returncode == 3
    assert "anchor_too_old" in done.stdout


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_verifying_a_bundle_makes_no_system_call_of_the_network(files: Path) -> None:
    strace = ("strace", "-f", "-qq", "-e", "trace=network", "-o", str(files / "calls"))
    verify = ("audit", "verify", str(files / "use.bundle"), "--policy", str(files / "policy.txt"))
    done = subprocess.run(
        [*strace, *MULU, *verify],
        env=python_environment(),
        check=False,
        timeout=120,
        capture_output=True,
    )
    assert done.returncode == 0
    assert (files / "calls").read_text() == ""
