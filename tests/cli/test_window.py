"""A window's case file, and what is asked of licenses."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.demo import content
from cli.output import CommandError
from cli.window import Case, Wish, items_of, make_request, record_operation
from ledger.keys import SealingKey, SoftwareSigner
from ledger.suite import SHA256_ED25519
from licenses.use import Item, sign_consent

CHAIN = "test-00000000000000000000000000000000"


def request_case() -> Case:
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
