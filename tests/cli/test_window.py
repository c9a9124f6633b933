"""A window's case file, and what is asked of licenses."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cli import window
from cli.demo import content
from cli.output import CommandError
from cli.statutory import grants_of
from cli.validation import duration_ms
from cli.window import (
    APPROVAL_PREFIX,
    CONSENT_PREFIX,
    REQUEST_PREFIX,
    Case,
    Wish,
    approval_text,
    basis_of,
    items_of,
    make_request,
    read_request,
    record_operation,
    with_approval,
    with_consent,
)
from ledger.errors import LedgerError
from ledger.keys import SealingKey, SoftwareSigner
from ledger.suite import SHA256_ED25519
from licenses.use import Basis, Item
from licenses.use_signing import sign_approval, sign_consent
from node.client import NodeClient
from node.errors import ApiProblem

CHAIN = "test-00000000000000000000000000000000"


def request_case(basis: Basis | None = None) -> Case:
    wish = Wish(
        organisation=content.CENTRE.uscc,
        sealing_key=SealingKey.generate().public_key,
        matter=content.MATTER,
        division="120000",
        items=(Item(content.LICENSE_TYPE, ("holder_name",)),),
        window="7",
        case_number="1",
        purpose="申请 to apply",
        place="hall",
        basis=basis,
    )
    envelope = make_request(SoftwareSigner.generate(), CHAIN, wish)
    return Case(envelope, "session", "http://127.0.0.1:1", None)


def test_a_case_file_holds_the_case(tmp_path: Path) -> None:
    case = request_case()
    case.save(tmp_path / "case.json")
    assert Case.load(tmp_path / "case.json") == case
    holder = SoftwareSigner.generate()
    request = case.envelope.signed.request
    consent = sign_consent(
        SHA256_ED25519,
        request,
        [(b"\1" * 32, ("holder_name",), b"\2" * 32, holder)],
        expires_ms=request.expires_ms,
    )
    answered = Case(case.envelope, case.session, case.session_node, consent)
    answered.save(tmp_path / "case.json")
    assert Case.load(tmp_path / "case.json") == answered
    assert record_operation(answered).kind == "licenses.use.record"


def test_nothing_is_recorded_without_a_consent() -> None:
    with pytest.raises(CommandError, match="no consent"):
        record_operation(request_case())


def test_a_case_by_law_holds_its_approval(tmp_path: Path) -> None:
    case = request_case(basis_of("law:of:1:29-2"))
    request = case.envelope.signed.request
    assert (request.mode, request.basis) == ("statutory", Basis("law:of:1", "29-2"))
    with pytest.raises(CommandError, match="no approval"):
        record_operation(case)
    approval = sign_approval(
        SHA256_ED25519,
        SoftwareSigner.generate(),
        request,
        [(b"\1" * 32, ("holder_name",))],
        expires_ms=request.expires_ms,
    )
    approved = with_approval(case, approval_text(approval))
    approved.save(tmp_path / "case.json")
    assert Case.load(tmp_path / "case.json") == approved
    assert approved.use_id == approval.approval.use_id(SHA256_ED25519)
    assert record_operation(approved).body["approval"] == approval.encode()
    with pytest.raises(CommandError, match="another request"):
        with_approval(request_case(Basis("law", "1")), approval_text(approval))


def test_a_duration_has_a_number_and_a_unit() -> None:
    assert [duration_ms(text) for text in ("90d", "12h", "30m", "45s")] == [
        *(7_776_000_000, 43_200_000, 1_800_000, 45_000)
    ]
    for text in ("", "d", "1", "-1d", "1w", "1.5h", "٣d", "9999999d"):
        with pytest.raises(CommandError, match="not a duration"):
            duration_ms(text)


def test_what_an_officer_grants_is_read_license_by_license() -> None:
    handle = "ab" * 32
    assert grants_of([f"{handle}=b, a,a"]) == ((bytes.fromhex(handle), ("a", "b")),)
    for texts in ([handle], [f"{handle}="], ["ab=a"], [f"{handle}=a", f"{handle}=b"]):
        with pytest.raises(CommandError):
            grants_of(texts)


@pytest.mark.parametrize("text", ["", "{}", '{"request": "zz"}', "\0", "[]"])
def test_what_is_no_case_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "case.json"
    path.write_text(text)
    with pytest.raises(CommandError, match="not a case file"):
        Case.load(path)


def test_fields_asked_for_are_read_by_type() -> None:
    assert items_of([f"{content.LICENSE_TYPE}:b, a,a"]) == (Item(content.LICENSE_TYPE, ("a", "b")),)
    for text in ("", "type", "type:", ":"):
        with pytest.raises(CommandError):
            items_of([text])


prefixes = st.sampled_from(["", REQUEST_PREFIX, CONSENT_PREFIX, APPROVAL_PREFIX])


@given(prefixes, st.text() | st.binary(max_size=300).map(bytes.hex))
@example(REQUEST_PREFIX, "ab" * 2_000_000)
@example(CONSENT_PREFIX, "91" * 50_000 + "c0")
@example(APPROVAL_PREFIX, "\ud800\u202e\x1b[2J")
def test_a_code_that_holds_any_text_is_refused_with_our_error(prefix: str, content: str) -> None:
    case = request_case()
    with pytest.raises((CommandError, LedgerError)):
        read_request(prefix + content)
    with pytest.raises((CommandError, LedgerError)):
        with_consent(case, prefix + content)
    with pytest.raises((CommandError, LedgerError)):
        with_approval(case, prefix + content)


class BusyNode(NodeClient):
    """A node on which too many wait: it answers who does not."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1")
        self.waits_s: list[float] = []

    def get_session_message(
        self, session: str, slot: str, *, wait_s: float = 0.0, secret: str | None = None
    ) -> bytes | None:
        self.waits_s.append(wait_s)
        if wait_s:
            raise ApiProblem(503, "session.busy", "Not available now", "too many wait")
        return b"sealed" if len(self.waits_s) == 3 else None


def test_where_too_many_wait_a_payload_is_asked_for_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(window, "_ASK_AGAIN_S", 0.01)
    with BusyNode() as node:
        assert window.await_message(node, "session", "request", timeout_s=30) == b"sealed"
    assert node.waits_s[0] > 0
    assert node.waits_s[1:] == [0.0, 0.0]
