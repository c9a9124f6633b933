"""Officers of the sample network at work by commands: they register a matter, issue a permit and use it by law."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cli.demo import content
from cli.main import run
from cli.network_setup import Network

DEPARTMENT = content.DEPARTMENT.uscc


class Shell:
    """Runs commands in this process, as somebody of the sample network."""

    def __init__(self, network: Network, capsys: pytest.CaptureFixture[str]) -> None:
        self.network = network
        self._capsys = capsys

    def __call__(self, *words: str, profile: str = "", expect: int = 0) -> Any:
        """Run a command with --json and return its answer."""
        self._capsys.readouterr()
        who = ("--profile", profile) if profile else ()
        code = run([*words, *who, "--json"])
        out, err = self._capsys.readouterr()
        assert code == expect, out + err
        return json.loads(out)

    def text(self, *words_and_profile: str) -> str:
        """Run a command as people do and return what it shows; the last word is the profile."""
        self._capsys.readouterr()
        *words, profile = words_and_profile
        code = run([*words, "--profile", profile])
        out, err = self._capsys.readouterr()
        assert code == 0, out + err
        return out

    def eventually(self, *words: str, profile: str, holds: Any) -> Any:
        """Run a reading command until its answer holds."""
        deadline = time.monotonic() + 20
        while True:
            answer = self(*words, profile=profile)
            if holds(answer) or time.monotonic() > deadline:
                assert holds(answer), answer
                return answer
            time.sleep(0.1)


def register_matter(shell: Shell, directory: Path) -> None:
    """Register the matter and what it rests on, define and accredit the license type; once for all tests."""
    if shell("directory", "list", "matter", profile="tongzhou-editor")["items"]:
        return
    statement, entries = directory / "statement.txt", directory / "entries.json"
    statement.write_text(content.statement(), "utf-8")
    entries.write_text(json.dumps({"instrument": [content.instrument()]}), "utf-8")
    shell(
        *("directory", "import", "--statement", str(statement), "--department", DEPARTMENT),
        profile="tongzhou-editor",
    )
    shell("directory", "import", "--json-file", str(entries), profile="national-editor")
    matter = {**content.matter(), "modes": ["holder", "statutory"]}
    (directory / "matter.json").write_text(json.dumps(matter), "utf-8")
    submit = ("directory", "submit", "matter", str(directory / "matter.json"))
    submitted = shell(*submit, profile="tongzhou-editor")
    for collection, count, approver in (
        ("responsibility", 8, "tongzhou-approver"),
        ("instrument", 1, "national-approver"),
        ("matter", 1, "tongzhou-approver"),
    ):
        owner = () if collection == "instrument" else ("--owner", DEPARTMENT)
        shell.eventually(
            *("directory", "list", collection, *owner),
            profile=approver,
            holds=lambda page, count=count: (
                sum(bool(entry.get("pending")) for entry in page["items"]) == count
            ),
        )
        shell("directory", "approve", collection, "--all", *owner, profile=approver)
    assert submitted["id"] == content.MATTER
    shell(
        *("license", "type", "define", content.LICENSE_TYPE, "--name", "居住证"),
        *("--holder", "person", "--field", "holder_name=姓名", "--field", "permit_number=号"),
        profile="residence-ministry",
    )
    shell(
        *("license", "accredit", content.LICENSE_TYPE, content.ISSUER.uscc),
        *("--from", "2026-01-01"),
        profile="residence-ministry",
    )


@dataclass(frozen=True, slots=True)
class Permit:
    """A license that was issued to a fresh wallet: its handle, its package, and the wallet's options."""

    handle: str
    package: Path
    wallet: tuple[str, str]


def issue_permit(
    shell: Shell, directory: Path, serial: str, *, holder: str = "王芳", number: str = "18"
) -> Permit:
    """Issue a permit to a fresh wallet, which takes it, and wait until the ledger has it."""
    register_matter(shell, directory)
    wallet = ("--wallet", str(directory / "wallet"))
    beijing = shell.network.node("beijing").api
    policy = str(shell.network.directory / "policy.txt")
    shell("wallet", "init", "--node", beijing, "--policy", policy, "--unprotected", *wallet)
    offer = shell("wallet", "offer", content.ISSUER.uscc, *wallet)["offer"]
    package = directory / "permit.json"
    issued = shell(
        *("license", "issue", "--type", content.LICENSE_TYPE, "--issuer", content.ISSUER.uscc),
        *("--serial", serial, "--field", f"holder_name={holder}"),
        *("--field", f"permit_number={number}", "--offer", offer, "--out", str(package)),
        profile="beijing-issuer",
    )
    assert shell("wallet", "add", str(package), *wallet)["handle"] == issued["handle"]
    shell("tx", "wait", issued["transaction"], profile="national-auditor")
    return Permit(issued["handle"], package, wallet)


class ByLaw:
    """A statutory use by files, each step by the key whose step it is."""

    def __init__(self, shell: Shell, directory: Path, permit: Permit, name: str) -> None:
        self.shell = shell
        self.permit = permit
        self.case, self.request, self.approval, self.sealed = (
            str(directory / f"{name}.{part}") for part in ("case", "request", "approval", "sealed")
        )

    def ask(self, *, article: str = content.ARTICLE) -> None:
        self.shell(
            *("license", "request", "--matter", content.MATTER, "--case-number", "L-1"),
            *("--ask", f"{content.LICENSE_TYPE}:holder_name,permit_number", "--purpose", "核查"),
            *("--division", "110112", "--statutory", "--case", self.case),
            *("--basis", f"{content.INSTRUMENT_ID}:{article}", "--request-out", self.request),
            profile="tongzhou-operator",
        )

    def approve(
        self, *more: str, fields: str = "holder_name", by: str = "tongzhou-officer", expect: int = 0
    ) -> Any:
        return self.shell(
            *("license", "approve", self.request, "--approval-out", self.approval, *more),
            *("--license", f"{self.permit.handle}={fields}"),
            profile=by,
            expect=expect,
        )

    def record(self) -> str:
        used = self.shell(
            *("license", "use", self.case, "--approval", self.approval),
            profile="tongzhou-recorder",
        )
        return str(used["use"])

    def release(self, use: str, package: Path, *, expect: int = 0) -> Any:
        return self.shell(
            *("license", "release", use, "--package", str(package), "--sealed-out", self.sealed),
            profile="beijing-issuer",
            expect=expect,
        )
