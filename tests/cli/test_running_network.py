"""Commands against a running network: what an officer does in a day, and what is said when validators are gone."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cli.demo import content
from cli.main import run
from cli.processes import running_process
from cli.sample import by_short_name
from ledger.keys import SoftwareSigner
from licenses.wallet import Wallet
from node.auth import make_token
from node.client import NodeClient
from node.errors import ApiProblem
from tests.cli.officers import DEPARTMENT, ByLaw, Permit, Shell, issue_permit, register_matter

TIANJIN = by_short_name("tianjin-department").uscc


def test_people_see_tables_with_chinese_text(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["org", "list", "--profile", "national-auditor"]) == 0
    assert "通州区政务服务和数据管理局" in capsys.readouterr().out


def test_a_key_is_enrolled_used_and_revoked(shell: Shell, tmp_path: Path) -> None:
    key = tmp_path / "new.key"
    made = shell("keys", "new", str(key), "--unencrypted")
    shell(
        *("org", "enrol", DEPARTMENT, "--new-key", str(key), "--role", "reader"),
        profile="tongzhou-registrar",
    )
    node = shell.network.node("beijing").api
    assert shell("org", "show", DEPARTMENT, "--node", node, "--key", str(key))["uscc"] == DEPARTMENT
    shell("org", "revoke", made["public_key"], profile="tongzhou-registrar")
    refused = shell("org", "show", DEPARTMENT, "--node", node, "--key", str(key), expect=1)
    assert refused["error"]["code"] == "key_not_enrolled"


def test_who_proposes_a_validator_is_told_what_others_approve(shell: Shell, tmp_path: Path) -> None:
    keys = {
        name: str(SoftwareSigner.generate().public_key)
        for name in ("consensus_key", "log_key", "witness_key")
    }
    proposal = {"action": "replace", "name": "beijing", **keys}
    file = tmp_path / "operations.json"
    file.write_text(json.dumps([{"kind": "ledger.validator.propose", "body": proposal}]))
    sent = shell("tx", "send", str(file), profile="beijing-governor")
    assert sent["proposals"] == [f"{sent['transaction']}-0"]
    approval = {"proposal": sent["proposals"][0]}
    file.write_text(json.dumps([{"kind": "ledger.validator.approve", "body": approval}]))
    # Two of four are no quorum: the set stays, for the other tests.
    assert shell("tx", "send", str(file), profile="tianjin-governor")["proposals"] == []
    file.write_text(json.dumps([{"kind": "ledger.validator.propose", "body": proposal}]))
    told = shell.text("tx", "send", str(file), "beijing-governor")
    assert re.search(r"by ledger.validator.approve:\s[0-9a-f]{64}-0", told)


def test_a_license_is_issued_for_the_organisation_whose_key_signs(
    shell: Shell, tmp_path: Path
) -> None:
    register_matter(shell, tmp_path)
    out = tmp_path / "license.json"
    words = (
        *("license", "issue", "--type", content.LICENSE_TYPE, "--serial", "2026110100000030"),
        *("--field", "holder_name=王芳", "--field", "permit_number=30", "--out", str(out)),
    )
    wrong = shell(*words, "--issuer", DEPARTMENT, profile="beijing-issuer", expect=2)
    assert f"not the organisation of the key that signs, {content.ISSUER.uscc}" in str(wrong)
    assert not out.exists()
    issued = shell(*words, profile="beijing-issuer")
    assert f".{content.ISSUER.uscc}." in issued["identifier"]
    shell("tx", "wait", issued["transaction"], profile="national-auditor")
    shell("license", "verify", str(out), profile="national-auditor")


def test_a_license_is_issued_used_by_files_verified_and_withheld(
    shell: Shell, tmp_path: Path
) -> None:
    permit = issue_permit(shell, tmp_path, content.SERIAL, holder="李明", number="17")
    wallet, package = permit.wallet, permit.package
    (held,) = shell("wallet", "list", *wallet)["licenses"]
    assert held["fields"] == {"holder_name": "李明", "permit_number": "17"}
    report = shell("license", "verify", str(package), profile="national-auditor")
    assert report["result"] == "valid"

    case, request, answer = (str(tmp_path / name) for name in ("case", "request", "consent"))
    shell(
        *("license", "request", "--matter", content.MATTER, "--case-number", "1"),
        *("--ask", f"{content.LICENSE_TYPE}:holder_name", "--purpose", "申请"),
        *("--division", "110112", "--request-out", request, "--case", case),
        profile="tongzhou-operator",
    )
    unseen = shell("wallet", "consent", request, "--out", answer, *wallet, expect=2)["error"]
    assert unseen["code"] == "no_answer" and "--yes" in unseen["hint"]
    asked = shell("wallet", "consent", request, "--out", answer, "--yes", *wallet)
    assert asked["purpose"] == "申请"
    early = shell(
        *("wallet", "disclose", asked["use"], "--out", str(tmp_path / "early"), *wallet),
        *("--timeout", "0.1"),
        expect=3,
    )
    assert early["error"]["code"] == "not_recorded"
    assert not (tmp_path / "early").exists()
    used = shell("license", "use", case, "--consent", answer, profile="tongzhou-recorder")
    shell("tx", "wait", used["transaction"], profile="national-auditor")
    again = shell("license", "use", case, profile="tongzhou-recorder", expect=1)
    assert again["error"]["code"] == "licenses.use.consent_replayed"
    shell("wallet", "disclose", asked["use"], "--out", str(tmp_path / "sealed"), *wallet)
    received = shell(
        *("license", "receive", case, "--sealed", str(tmp_path / "sealed")),
        profile="tongzhou-operator",
    )
    assert received["licenses"][0]["fields"] == {"holder_name": "李明"}
    assert shell("wallet", "check", *wallet)["licenses"] == [
        {"license": permit.handle, "unseen": 0}
    ]
    before = shell("wallet", "policy", *wallet)
    renewed = shell("wallet", "policy", "--renew", *wallet)
    assert (renewed["age_days"], renewed["validators"]) == (0, before["validators"])
    assert renewed["as_of"] >= before["as_of"]
    (receipt,) = shell("wallet", "receipts", *wallet)["receipts"]
    assert (receipt["state"], receipt["purpose"]) == ("disclosed", "申请")
    uses = shell("license", "uses", permit.handle, profile="national-auditor")
    assert [use["id"] for use in uses["items"]] == [asked["use"]]
    assert uses["complete"]
    trace = shell("audit", "trace", asked["use"], profile="national-auditor")["trace"]
    assert {"license", "matter", "responsibility", "article", "proof"} <= {
        link["what"] for link in trace
    }
    up = shell("directory", "trace", "matter", content.MATTER, "--up", profile="tongzhou-editor")
    assert {child["collection"] for child in up["children"]} == {"responsibility", "instrument"}

    shell("license", "withhold", permit.handle, "--reason", "test", profile="beijing-issuer")
    status = shell.eventually(
        *("license", "status", permit.handle),
        profile="beijing-issuer",
        holds=lambda record: record["status"] == "02",
    )
    assert [change["status"] for change in status["history"]] == ["01", "02"]


def token_of_holder(permit: Permit) -> str:
    wallet = Wallet.open(Path(permit.wallet[1]), "")
    signer, salt = wallet.holder_key(bytes.fromhex(permit.handle))
    claims = {"handle": permit.handle, "salt": salt.hex()}
    return make_token(signer, wallet.read().chain_id, int(time.time()), claims=claims)


def uses_by_pages(shell: Shell, permit: Permit, limit: int) -> list[list[str]]:
    """Return the ids of a license's uses as its wallet reads them, page by page."""
    token = token_of_holder(permit)
    pages: list[list[str]] = []
    with NodeClient(shell.network.node("beijing").api) as client:
        cursor = None
        while not pages or cursor is not None:
            page = client.wallet_uses(token, cursor=cursor, limit=limit)
            pages.append([use["id"] for use in page.items])
            cursor = page.cursor
    return pages


def test_a_use_by_law_is_approved_recorded_released_and_told_to_the_holder(
    shell: Shell, tmp_path: Path
) -> None:
    permit = issue_permit(shell, tmp_path, "2026110100000018")
    deferred, now = (ByLaw(shell, tmp_path, permit, name) for name in ("deferred", "now"))
    deferred.ask()
    now.ask()
    told_from = time.monotonic() + 8
    approved = deferred.approve("--defer", "8s")
    assert approved["purpose"] == "核查"
    assert content.instrument()["name"] in approved["basis"]
    hidden = deferred.record()
    assert approved["use"] == hidden
    unseen = shell("wallet", "receipts", "--fetch", *permit.wallet)["receipts"]
    assert not unseen or time.monotonic() >= told_from
    with NodeClient(shell.network.node("beijing").api) as client:
        token = token_of_holder(permit)
        # A holder can compute the id from the license's record: it leads nowhere before the time.
        try:
            client.use_evidence(hidden, token=token)
            assert time.monotonic() >= told_from
        except ApiProblem as refused:
            assert refused.code == "use_unknown"

    now.approve()
    use = now.record()
    assert now.release(use, permit.package)["licenses"] == [
        {"license": permit.handle, "fields": ["holder_name"]}
    ]
    received = shell(
        *("license", "receive", now.case, "--sealed", now.sealed), profile="tongzhou-operator"
    )
    assert received["licenses"][0]["fields"] == {"holder_name": "王芳"}
    by_use = {
        one["use"]: one
        for one in shell("wallet", "receipts", "--fetch", *permit.wallet)["receipts"]
    }
    told = by_use[use]
    assert (told["mode"], told["state"], told["matter"]) == (
        "statutory",
        "recorded",
        content.MATTER,
    )
    assert told["organisation"] == DEPARTMENT
    assert told["basis"] == f"{content.INSTRUMENT_ID} article {content.ARTICLE}"
    assert told["licenses"] == [{"license": permit.handle, "fields": ["holder_name"]}]

    words = ("-m", "cli", "wallet", "watch", "--json", "--interval", "0.2", *permit.wallet)
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE) as watch:
        try:
            assert watch.stdout is not None
            if hidden not in by_use:
                event = json.loads(watch.stdout.readline())
                assert (event["event"], event["use"], event["mode"]) == ("use", hidden, "statutory")
                assert time.monotonic() >= told_from
        finally:
            watch.terminate()
    receipts = shell("wallet", "receipts", *permit.wallet)["receipts"]
    assert {one["use"] for one in receipts} == {use, hidden}
    assert uses_by_pages(shell, permit, 1) == [[hidden], [use], []]
    assert uses_by_pages(shell, permit, 500) == [[hidden, use]]
    traced = shell("audit", "trace", hidden, profile="national-auditor")["trace"]
    assert "statutory mode" in traced[0]["text"]
    assert f"article {content.ARTICLE}, approved by" in traced[0]["text"]


def test_what_validators_would_refuse_of_a_use_by_law_is_refused_before_it_is_approved(
    shell: Shell, tmp_path: Path
) -> None:
    permit = issue_permit(shell, tmp_path, "2026110100000019")
    case = ByLaw(shell, tmp_path, permit, "refused")
    case.ask()
    for more, changed, code in (
        ((), {"by": "tongzhou-editor"}, "officer_not_enrolled"),
        ((), {"by": "tongzhou-operator"}, "officer_not_enrolled"),
        ((), {"fields": "birth_date"}, "grant_mismatch"),
        (("--defer", "91d"), {}, "notice_deferral"),
        (("--defer", "0s"), {}, "notice_deferral"),
    ):
        refused = case.approve(*more, expect=1, **changed)  # type: ignore[arg-type]
        assert refused["error"]["code"] == f"licenses.use.{code}"
    other = ByLaw(shell, tmp_path, permit, "article")
    other.ask(article="30")
    assert other.approve(expect=1)["error"]["code"] == "licenses.use.no_legal_basis"
    unknown = replace(permit, handle="0" * 64)
    refused = ByLaw(shell, tmp_path, unknown, "refused").approve(expect=1)
    assert refused["error"]["code"] == "licenses.use.license_unknown"
    assert not Path(case.approval).exists()
    assert not Path(other.approval).exists()

    request = Path(case.request)
    asks_holder = shell("wallet", "consent", case.request, "--out", "x", *permit.wallet, expect=2)
    assert asks_holder["error"]["code"] == "wallet.bad_request"
    early = shell("license", "use", case.case, profile="tongzhou-recorder", expect=2)
    assert "no approval yet" in early["error"]["message"]
    tampered = bytearray.fromhex(request.read_text().removeprefix("mulu-request:"))
    tampered[-1] ^= 1
    request.write_text(f"mulu-request:{tampered.hex()}")
    assert case.approve(expect=1)["error"]["code"] == "licenses.use.bad_request"


def test_an_issuer_releases_only_what_the_ledger_proves(shell: Shell, tmp_path: Path) -> None:
    permit = issue_permit(shell, tmp_path, "2026110100000020")
    (tmp_path / "other").mkdir()
    other = issue_permit(shell, tmp_path / "other", "2026110100000021")
    case = ByLaw(shell, tmp_path, permit, "case")
    case.ask()
    approved = case.approve()
    early = case.release(approved["use"], permit.package, expect=1)
    assert early["error"]["code"] == "use_unknown"
    use = case.record()
    wrong = case.release(use, other.package, expect=1)
    assert wrong["error"]["code"] == "other_license"
    both = shell(
        *("license", "release", use, "--sealed-out", case.sealed),
        *("--package", str(permit.package), "--package", str(other.package)),
        profile="beijing-issuer",
        expect=1,
    )
    assert both["error"]["code"] == "other_license"
    stranger = tmp_path / "stranger.txt"
    shell("network", "init", "--home", str(tmp_path / "strange"))
    stranger.write_bytes((tmp_path / "strange" / "policy.txt").read_bytes())
    shell(
        *("license", "release", use, "--package", str(permit.package)),
        *("--sealed-out", case.sealed, "--policy", str(stranger)),
        profile="beijing-issuer",
        expect=3,
    )
    assert not Path(case.sealed).exists()
    (held,) = shell("license", "uses", permit.handle, profile="national-auditor")["items"]
    assert (held["id"], held["mode"]) == (use, "statutory")


@pytest.mark.parametrize("by", ["profile", "key"])
def test_who_asks_without_the_role_is_told_whose_key_asked(
    shell: Shell, tmp_path: Path, by: str
) -> None:
    keys = shell.network.directory / "keys"
    words = (
        *("license", "request", "--code", "01234567", "--matter", content.MATTER),
        *("--ask", f"{content.LICENSE_TYPE}:holder_name", "--purpose", "申请"),
        *("--case-number", "1", "--division", "110112", "--case", str(tmp_path / "case")),
        *("--sealing-key", str(keys / "tongzhou-department.sealing")),
    )
    if by == "profile":
        refused = shell(*words, profile="tongzhou-recorder", expect=1)
        whose = "the key of profile tongzhou-recorder"
    else:
        key = ("--key", str(keys / "tongzhou-recorder.key"))
        refused = shell(*words, *key, "--organisation", DEPARTMENT, expect=1)
        whose = "the key that was given"
    assert refused["error"]["code"] == "role_missing"
    assert refused["error"]["hint"] == (
        f"It was asked with {whose}. Give another key with --key or --profile; "
        "`mulu profile list` shows whose you have."
    )


@pytest.mark.parametrize("division", ["120000", "990000"])
def test_a_place_that_validators_would_refuse_is_refused_before_anybody_is_asked(
    shell: Shell, tmp_path: Path, division: str
) -> None:
    refused = shell(
        *("license", "request", "--matter", content.MATTER, "--case-number", "1"),
        *("--ask", f"{content.LICENSE_TYPE}:holder_name", "--purpose", "申请"),
        *("--division", division, "--case", str(tmp_path / "case")),
        *("--request-out", str(tmp_path / "request")),
        profile="tongzhou-operator",
        expect=2,
    )
    assert refused["error"]["code"] == "licenses.use.wrong_division"
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_there_is_said_to_be_not_there(shell: Shell) -> None:
    unknown = shell("directory", "show", "matter", content.UNCOVERED_MATTER, expect=1)
    assert unknown["error"]["code"] == "entry_unknown"
    assert shell("tx", "show", "0" * 64, expect=1)["error"]["message"]
    assert shell("license", "status", "0" * 64, expect=1)["error"]["code"] == "license_unknown"


def test_an_auditor_follows_the_log_and_reads_what_is_new(shell: Shell, tmp_path: Path) -> None:
    look = ("audit", "follow", "--kept", str(tmp_path / "checkpoint"))
    first = shell(*look, "--entries", profile="national-auditor")
    assert (first["outcome"], first["entries"]) == ("first", first["checkpoint"]["size"])
    key = tmp_path / "new.key"
    shell("keys", "new", str(key), "--unencrypted")
    enrolled = shell(
        *("org", "enrol", DEPARTMENT, "--new-key", str(key), "--role", "reader"),
        profile="tongzhou-registrar",
    )
    shell("tx", "wait", enrolled["transaction"], profile="national-auditor")
    grown = shell(*look, "--entries", profile="national-auditor")
    assert (grown["outcome"], grown["kept_before"]) == ("extends", first["checkpoint"])
    assert grown["entries"] == grown["checkpoint"]["size"] - first["checkpoint"]["size"]
    node = shell.network.node("hebei").api
    assert shell(*look, "--node", node)["outcome"] in ("same", "extends"), "another node, no key"
    refused = shell(
        *look[:3], str(tmp_path / "x"), "--entries", profile="tongzhou-editor", expect=1
    )
    assert refused["error"]["code"] == "role_missing"


def test_status_tells_machines_numbers_and_each_once(shell: Shell) -> None:
    node = shell.network.node("hebei").api
    one, whole = shell("node", "status", "--node", node), shell("network", "status")
    assert (one["online"], one["total"], one["quorum"]) == (4, 4, True)
    assert isinstance(one["checkpoint_time_ms"], int)
    assert isinstance(one["engine"]["height"], int)
    assert one["engine"].keys() == whole["engine"].keys()
    assert not {"round", "step"} & whole.keys()


def test_without_a_quorum_a_submission_ends_in_bounded_time_and_resumes_later(
    shell: Shell,
) -> None:
    """The bound is a promise: without quorum a node answers after 3 s, not after the 15 s that a command gives it."""
    network = shell.network
    victims = [network.node("hebei"), network.node("national")]
    for place in victims:
        process_id = running_process(network.node_home(place))
        assert process_id is not None
        os.kill(process_id, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while run(["network", "status"]) != 3 and time.monotonic() < deadline:
        time.sleep(0.1)
    status = shell("network", "status", expect=3)
    assert (status["online"], status["total"], status["quorum"]) == (2, 4, False)
    words = (
        *("org", "register", "12110112MB1A001404", "--name", "通州区档案馆 Archive"),
        *("--level", "district", "--division", "110112", "--parent", "11110112MB1A00052Q"),
    )
    started = time.monotonic()
    refused = shell(*words, profile="tongzhou-registrar", expect=3)
    assert time.monotonic() - started < 15
    assert refused["error"]["code"] == "not_committed"
    asked = refused["error"]["hint"].split("mulu tx wait ")[1][:64]
    assert f"not known yet: transaction {asked} " in refused["error"]["message"]
    assert shell("network", "start", "--timeout", "90")["started"] == ["hebei", "national"]
    found = shell.eventually(
        "network", "status", profile="", holds=lambda answer: answer["online"] == 4
    )
    assert found["quorum"] is True
    committed = shell(
        *("org", "register", "12110112MB1A001329", "--name", "通州区政务服务大厅 Hall"),
        *("--level", "district", "--division", "110112", "--parent", "11110112MB1A00052Q"),
        profile="tongzhou-registrar",
    )
    shown = shell("tx", "wait", committed["transaction"], profile="hebei-registrar")
    assert shown["verified"]
