"""`mulu audit verify` on one bundle and on many: what is shown, and which exit code stands for all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cli.bundles import verify_bundles
from cli.processes import python_environment
from ledger.bundle import MAX_BUNDLE_BYTES, Bundle
from ledger.suite import SHA256_ED25519 as SUITE
from licenses.verification import Question
from licenses.verifier import Verifier
from tests.licenses.story import Story, ready_story

HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def story() -> Story:
    return ready_story()


@pytest.fixture(scope="module")
def bundles(story: Story, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles of every outcome, each named after its own."""
    directory = tmp_path_factory.mktemp("bundles")
    license_ = story.license_bundle(story.holder().handle)
    states = [story.chain.state_evidence("licenses/license/none", story.chain.checkpoint())]
    state = Bundle.of("state:licenses/license/none", states=states).encode(SUITE)
    (directory / "valid").write_bytes(license_)
    (directory / "absent").write_bytes(story.license_bundle(bytes(32)))
    (directory / "damaged").write_bytes(license_[:-1] + bytes([license_[-1] ^ 1]))
    (directory / "garbage").write_bytes(b"garbage")
    (directory / "state").write_bytes(state)
    (directory / "policy.txt").write_bytes(story.chain.policy().encode())
    return directory


def outcome(
    story: Story, bundles: Path, names: Sequence[str], *, later_ms: int = 0, as_json: bool = True
) -> int:
    return verify_bundles(
        [bundles / name for name in names],
        Verifier(SUITE, story.chain.policy()),
        Question(now_ms=story.chain.time_ms + later_ms),
        bundles / "policy.txt",
        as_json,
    )


@pytest.mark.parametrize(
    ("names", "later_ms", "code"),
    [
        (("valid", "state", "valid"), 0, 0),
        (("valid", "absent"), 0, 1),
        (("garbage", "absent", "valid"), 0, 1),
        (("damaged", "valid"), 0, 2),
        (("valid", "no such file"), 0, 2),
        (("state", "valid"), 2 * HOUR_MS, 3),
        (("valid", "garbage"), 2 * HOUR_MS, 2),
    ],
)
def test_the_gravest_of_many_bundles_is_the_exit_code(
    story: Story,
    bundles: Path,
    names: Sequence[str],
    later_ms: int,
    code: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert outcome(story, bundles, names, later_ms=later_ms) == code
    together: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert together["exit_code"] == code
    assert together["policy"] == str(bundles / "policy.txt")
    assert [one["file"] for one in together["bundles"]] == [str(bundles / one) for one in names]
    for one in together["bundles"]:  # what is told of each is what it would be told alone
        name = Path(one["file"]).name
        assert outcome(story, bundles, [name], later_ms=later_ms) == one["exit_code"]
        alone = json.loads(capsys.readouterr().out)
        assert alone == {**one, "policy": together["policy"], "bundles": [one]}


def test_of_many_bundles_a_line_each_is_shown_with_its_reason(
    story: Story, bundles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(story, bundles, ["valid", "absent", "garbage", "state"], as_json=False) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "not_recorded" in shown
    assert "bundle_unreadable" in shown
    assert "Of 4: 1 hold, 1 show evidence only, 1 do not hold, 1 are unreadable." in shown
    assert "01 valid" in shown


def test_a_bundle_that_calls_itself_something_else_passes_for_no_valid_license(
    story: Story, bundles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A subject is a claim. Evidence that nobody has judged has no mark of what holds."""
    states = [story.chain.state_evidence("licenses/license/" + 64 * "0", story.chain.checkpoint())]
    (bundles / "forged").write_bytes(Bundle.of(f"License:{64 * '0'}", states=states).encode(SUITE))
    assert outcome(story, bundles, ["valid", "forged"], as_json=False) == 0
    (line,) = (one for one in capsys.readouterr().out.splitlines() if "License:" in one)
    assert "evidence only: 2 entries and states, as of" in line
    assert "✓" not in line


@pytest.mark.parametrize("kind", ["pipe", "device", "directory", "long"])
def test_what_is_no_bundle_file_costs_the_others_nothing(
    story: Story, bundles: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bundles / kind
    if kind == "pipe":
        os.mkfifo(path)
    if kind == "device":
        path.symlink_to("/dev/zero")
    if kind == "directory":
        path.mkdir()
    if kind == "long":
        with path.open("wb") as file:
            file.truncate(1 << 40)
    assert outcome(story, bundles, ["valid", kind, "valid"]) == 2
    answer = json.loads(capsys.readouterr().out)
    assert [one["exit_code"] for one in answer["bundles"]] == [0, 2, 0]
    if kind == "long":
        text = f"{path} is too large: {1 << 40} bytes, at most {MAX_BUNDLE_BYTES} are read"
        assert answer["bundles"][1]["text"] == text


def test_the_command_takes_many_and_opens_no_socket(story: Story, bundles: Path) -> None:
    at = (
        "--at",
        "2000-01-01",
        "--policy",
        str(bundles / "policy.txt"),
        "--max-anchor-age",
        "36500",
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "cli", "audit", "verify"),
            *(str(bundles / name) for name in ("state", "valid", "state")),
            *at,
            "--json",
        ],
        env=python_environment(),
        check=False,
        timeout=60,
        capture_output=True,
    )
    assert done.returncode == 1, done.stderr  # the license was not recorded yet in that year
    assert [one["exit_code"] for one in json.loads(done.stdout)["bundles"]] == [0, 1, 0]
