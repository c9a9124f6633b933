"""`mulu license verify` against one node that need not be honest: its bare word decides nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cli.main import run
from cli.processes import python_environment
from ledger.policy import policy_for
from ledger.suite import SHA256_ED25519 as SUITE
from licenses.credentials import present
from tests.cli.stand_in import serving
from tests.ledger.sample_chain import FOUNDERS, validator_set
from tests.licenses.story import CENTRE, Holder, Story, ready_story

AT_THAT_TIME = ("--fresh", "1e9", "--max-anchor-age", "36500")
"""The story's clock stands still."""


@dataclass
class Denier:
    """A node that refuses whatever it is asked."""

    url: str = ""
    status: int = 404
    code: str = "license_unknown"
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str) -> tuple[int, bytes]:
        self.asked.append(path)
        return self.status, json.dumps({"title": "Refused", "code": self.code}).encode()


@pytest.fixture
def node() -> Iterator[Denier]:
    denier = Denier()
    with serving(denier.answer) as denier.url:
        yield denier


@pytest.fixture(scope="module")
def story() -> Story:
    return ready_story()


@pytest.fixture(scope="module")
def person(story: Story) -> Holder:
    return story.holder()


@pytest.fixture
def home(
    tmp_path: Path, node: Denier, story: Story, person: Holder, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A profile that names the node and the policy, beside a permit."""
    monkeypatch.setenv("MULU_HOME", str(tmp_path))
    for name in ("MULU_NODE", "MULU_KEY", "MULU_POLICY", "MULU_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "profiles.toml").write_text(
        f'default = "me"\n[profiles.me]\nnode = "{node.url}"\npolicy = "policy.txt"\n'
    )
    (tmp_path / "policy.txt").write_bytes(story.chain.policy().encode())
    (tmp_path / "permit").write_text(str(person.issued.credential.sd_jwt))
    return tmp_path


def verify(capsys: pytest.CaptureFixture[str], *words: str, expect: int) -> Any:
    capsys.readouterr()
    code = run(["license", "verify", *words, "--json"])
    out, err = capsys.readouterr()
    assert code == expect, out + err
    return json.loads(out)


def offline(*words: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command in a process of its own, as one must that promises to open no socket."""
    return subprocess.run(
        [sys.executable, "-m", "cli", *words],
        env=python_environment(),
        check=False,
        timeout=60,
        capture_output=True,
    )


def unestablished(report: Any) -> dict[str, str]:
    return {
        one["check"]: one["code"] for one in report["verdicts"] if one["outcome"] == "unestablished"
    }


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "license_unknown"), (404, ""), (403, "role_missing"), (422, "bad"), (500, "bad")],
)
def test_a_node_that_gives_no_evidence_makes_no_license_invalid(
    status: int,
    code: str,
    home: Path,
    node: Denier,
    person: Holder,
    capsys: pytest.CaptureFixture[str],
) -> None:
    node.status, node.code = status, code
    handle = person.handle.hex()
    for words in ([str(home / "permit")], ["--handle", handle]):
        report = verify(capsys, *words, expect=3)
        assert report["result"] == "unestablished"
        assert report["subject"] == f"license:{handle}"
        assert unestablished(report) == {"anchored": "no_evidence"}
    assert node.asked == [f"/v1/evidence/licenses/{handle}"] * 2


def test_the_report_says_what_a_denial_is_worth_and_which_policy_was_trusted(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["license", "verify", str(home / "permit")]) == 3
    shown = capsys.readouterr().out
    assert "no such license, which it has not proved: ask another node, or wait" in shown
    assert f"Trusted: {home / 'policy.txt'}" in shown
    assert "Could not be established." in shown
    report = verify(capsys, str(home / "permit"), expect=3)
    assert report["policy"] == str(home / "policy.txt")


def test_a_credential_that_fails_by_itself_is_not_valid_whatever_the_node_says(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = verify(capsys, str(home / "permit"), "--nonce", "n", expect=1)
    failed = [one["code"] for one in report["verdicts"] if one["outcome"] == "failed"]
    assert failed == ["not_bound"]
    assert unestablished(report) == {"anchored": "no_evidence"}


@pytest.mark.parametrize("content", [None, b"garbage\n"])
def test_no_node_is_asked_under_a_policy_that_cannot_be_read(
    content: bytes | None, home: Path, node: Denier, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is None:
        (home / "policy.txt").unlink()
    else:
        (home / "policy.txt").write_bytes(content)
    answer = verify(capsys, str(home / "permit"), expect=2)
    assert "policy.txt" in answer["error"]["message"]
    assert node.asked == []


def test_a_handle_that_is_none_is_wrong_input_and_no_node_is_asked(
    home: Path, node: Denier, capsys: pytest.CaptureFixture[str]
) -> None:
    verify(capsys, "--handle", "../../network", expect=2)
    assert node.asked == []


def test_where_no_node_is_asked_the_profile_s_policy_is_trusted_too(
    home: Path, node: Denier, story: Story, person: Holder, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "permit.bundle").write_bytes(story.license_bundle(person.handle))
    report = verify(
        capsys,
        str(home / "permit"),
        *("--bundle", str(home / "permit.bundle"), "--max-anchor-age", "36500"),
        *("--at", "2000-01-01"),
        expect=1,  # it was not recorded yet; that a quorum vouches is what the policy decides
    )
    assert report["policy"] == str(home / "policy.txt")
    passed = [one["check"] for one in report["verdicts"] if one["outcome"] == "passed"]
    assert "checkpoint_quorum" in passed
    assert node.asked == []
    audit = ("audit", "verify", str(home / "permit.bundle"), "--profile", "me", "--json")
    done = offline(*audit)
    assert json.loads(done.stdout)["policy"] == str(home / "policy.txt")


def test_a_bundle_under_another_network_s_policy_is_not_established(
    home: Path, story: Story, person: Holder, capsys: pytest.CaptureFixture[str]
) -> None:
    other = policy_for(SUITE, validator_set(FOUNDERS), "another-chain", story.chain.policy().as_of)
    (home / "other.txt").write_bytes(other.encode())
    (home / "permit.bundle").write_bytes(story.license_bundle(person.handle))
    trusting = ["--policy", str(home / "other.txt")]
    report = verify(
        capsys, str(home / "permit"), "--bundle", str(home / "permit.bundle"), *trusting, expect=3
    )
    assert unestablished(report) == {"checkpoint_quorum": "other_network"}
    audit = ("audit", "verify", str(home / "permit.bundle"), *trusting, "--json")
    done = offline(*audit)
    assert done.returncode == 3, done.stderr
    assert unestablished(json.loads(done.stdout)) == {"checkpoint_quorum": "other_network"}


@pytest.mark.parametrize("shown", [True, False])
def test_valid_adds_that_who_shows_a_license_was_not_verified(
    home: Path, story: Story, person: Holder, capsys: pytest.CaptureFixture[str], shown: bool
) -> None:
    binding = (person.signer, CENTRE, "nonce-1", story.chain.time_ms)
    text = present(SUITE, person.issued.credential, ["name"], binding=binding)
    (home / "presented").write_text(text if shown else text[: text.rindex("~") + 1])
    (home / "bundle").write_bytes(story.license_bundle(person.handle))
    words = [str(home / "presented"), "--bundle", str(home / "bundle"), *AT_THAT_TIME]
    assert run(["license", "verify", *words]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert told.endswith("Valid. Who shows it was not verified.")
    assert ("not_asked_for" if shown else "not_presented") in told
    asked = ["--audience", CENTRE, "--nonce", "nonce-1"]
    assert run(["license", "verify", *words, *asked]) == (0 if shown else 1)
    assert capsys.readouterr().out.endswith("\nValid.\n" if shown else "\nNOT valid.\n")
