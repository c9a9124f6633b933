"""Types, issuers, licenses and their statuses: what handlers do, and every code with which they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from ledger.errors import InvalidOperation
from ledger.membership_operations import DissolveOrganisation, RevokeKey
from licenses.models import (
    MAX_STATUS_CHANGES,
    AccreditIssuer,
    BindHolder,
    Change,
    ChangeStatus,
    DefineType,
    IssueLicense,
    License,
    LicenseField,
    RenewLicense,
    RevokeLicense,
    SuspendIssuer,
    accreditation,
    license_type,
)
from licenses.operations import OPERATIONS
from tests.licenses.story import (
    BEIJING,
    DAY_MS,
    ISSUER,
    STRANGER,
    TIANJIN,
    TYPE,
    Story,
    key_of,
    random_bytes,
    ready_story,
)

AUTHORITY = key_of(BEIJING, "issuer")
BY = key_of(ISSUER, "issuer")


@pytest.fixture(scope="module")
def prepared() -> Story:
    return ready_story()


@pytest.fixture
def story(prepared: Story) -> Iterator[Story]:
    kept = dict(prepared.values)
    yield prepared
    prepared.values = kept


def refused(code: str) -> Any:
    return pytest.raises(InvalidOperation, match=f"^licenses\\.{code}\\b")


def issue(story: Story, **changes: Any) -> bytes:
    issued = story.prepare(None)
    body = issued.body.model_copy(update=changes)
    story.apply(changes.pop("by", BY), ("licenses.license.issue", body))
    return body.license


def change(handle: bytes) -> ChangeStatus:
    return ChangeStatus(licenses=(handle,), reason="check of papers")


# --- types ------------------------------------------------------------------------------------


def define(code: str = TYPE, *names: str, holder_kind: str = "person") -> DefineType:
    fields = tuple(LicenseField(name=name, title=name) for name in names)
    return DefineType(type=code, name="Permit", holder_kind=holder_kind, fields=fields)  # type: ignore[arg-type]


def test_a_type_grows_in_versions(story: Story) -> None:
    wider = define(TYPE, "address", "birth_date", "name", "nickname")
    story.apply(AUTHORITY, ("licenses.type.define", wider))
    found = license_type(story, TYPE)
    assert found is not None and found.version == 2 and "nickname" in found.fields


def test_only_the_authority_in_its_code_defines_a_type(story: Story) -> None:
    with refused("type.not_defining_authority"):
        story.apply(key_of(TIANJIN, "issuer"), ("licenses.type.define", define(TYPE, "name")))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (define(TYPE, "name", "name"), "duplicate_field"),
        (define(TYPE, "name"), "field_removed"),
        (define(TYPE, "name", holder_kind="organisation"), "holder_kind"),
    ],
    ids=["field twice", "field removed", "other kind of holder"],
)
def test_a_type_is_not_redefined_otherwise(story: Story, body: DefineType, code: str) -> None:
    with refused(f"type.{code}"):
        story.apply(AUTHORITY, ("licenses.type.define", body))


@pytest.mark.parametrize(
    "code", ["", TYPE[:-1], TYPE + "1", TYPE.lower(), "1" * 21, TYPE[:18] + "00１"], ids=repr
)
def test_a_malformed_type_code_is_refused_at_birth(code: str) -> None:
    with pytest.raises(ValidationError):
        define(code, "name")


# --- accreditation ----------------------------------------------------------------------------


def accredit(**changes: Any) -> tuple[str, AccreditIssuer]:
    parts: dict[str, Any] = {"type": TYPE, "issuer": ISSUER, "valid_from_ms": 0, **changes}
    return "licenses.issuer.accredit", AccreditIssuer(**parts)


def test_a_suspended_issuer_issues_nothing_until_accredited_again(story: Story) -> None:
    suspend = SuspendIssuer(type=TYPE, issuer=ISSUER, reason="audit")
    story.apply(AUTHORITY, ("licenses.issuer.suspend", suspend))
    with refused("license.not_accredited"):
        issue(story)
    with refused("issuer.not_accredited"):
        story.apply(AUTHORITY, ("licenses.issuer.suspend", suspend))
    story.apply(AUTHORITY, accredit())
    issue(story)
    found = accreditation(story, TYPE, ISSUER)
    assert found is not None
    assert [each.status for each in found.history] == ["active", "suspended", "active"]


def test_an_accreditation_counts_in_its_period_by_block_time(story: Story) -> None:
    story.apply(AUTHORITY, accredit(valid_to_ms=story.time_ms + DAY_MS))
    issue(story)
    story.wait(DAY_MS)
    with refused("license.not_accredited"):
        issue(story)


@pytest.mark.parametrize(
    ("changes", "by", "code"),
    [
        ({}, key_of(TIANJIN, "issuer"), "not_defining_authority"),
        ({"type": BEIJING + "099"}, AUTHORITY, "type_unknown"),
        ({"issuer": "91110000600037341L"}, AUTHORITY, "unknown_organisation"),
        ({"valid_from_ms": 5, "valid_to_ms": 5}, AUTHORITY, "period"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_accreditation_is_refused(story: Story, changes: Any, by: Any, code: str) -> None:
    with refused(f"issuer.{code}"):
        story.apply(by, accredit(**changes))


def test_another_authority_does_not_suspend(story: Story) -> None:
    suspend = SuspendIssuer(type=TYPE, issuer=ISSUER, reason="audit")
    with refused("issuer.not_defining_authority"):
        story.apply(key_of(TIANJIN, "issuer"), ("licenses.issuer.suspend", suspend))


# --- issuing ----------------------------------------------------------------------------------


def test_a_license_is_issued_once(story: Story) -> None:
    issued = story.prepare(None)
    story.apply(BY, ("licenses.license.issue", issued.body))
    with refused("license.exists"):
        story.apply(BY, ("licenses.license.issue", issued.body))
    assert story.license(issued.body.license).status == "01"


def test_only_an_accredited_issuer_issues(story: Story) -> None:
    with refused("license.not_accredited"):
        story.apply(
            key_of(STRANGER, "issuer"), ("licenses.license.issue", story.prepare(None).body)
        )


@pytest.mark.parametrize("organisation", [STRANGER, BEIJING])
def test_the_credentials_key_is_the_issuers_own(story: Story, organisation: str) -> None:
    with refused("license.credential_key"):
        issue(story, credential_key=str(key_of(organisation, "issuer").public_key))


def test_a_key_without_the_role_signs_no_credential(story: Story) -> None:
    with refused("license.credential_key"):
        issue(story, credential_key=str(key_of(ISSUER, "operator").public_key))


def test_a_revoked_key_signs_no_credential(story: Story) -> None:
    operator = key_of(ISSUER, "operator")
    key = f"ledger/key/{operator.public_key}"
    story.values[key] = {**story.values[key], "roles": ("issuer",)}  # type: ignore[dict-item]
    story.apply(operator, ("ledger.key.revoke", RevokeKey(key=str(operator.public_key))))
    with refused("license.credential_key"):
        issue(story, credential_key=str(operator.public_key))


def test_a_license_does_not_end_before_it_begins(story: Story) -> None:
    with refused("license.period"):
        issue(story, valid_from_ms=5000, valid_to_ms=5000)


# --- renewal and binding ----------------------------------------------------------------------


def renew(story: Story, previous: bytes, **changes: Any) -> RenewLicense:
    body = story.prepare(None).body
    return RenewLicense(**{**dict(body), "previous": previous, **changes})


def test_a_renewal_links_the_previous_license_and_cancels_it(story: Story) -> None:
    old = issue(story)
    body = renew(story, old)
    story.apply(BY, ("licenses.license.renew", body))
    assert story.license(old).status == "04"
    assert story.license(body.license).previous == old
    with refused("license.not_valid"):
        story.apply(BY, ("licenses.license.renew", renew(story, old)))


def test_a_renewal_stays_within_type_and_issuer(story: Story) -> None:
    old = issue(story)
    with refused("license.previous_unfit"):
        story.apply(BY, ("licenses.license.renew", renew(story, old, type=BEIJING + "002")))
    with refused("license.unknown"):
        story.apply(BY, ("licenses.license.renew", renew(story, bytes(32))))
    with refused("license.not_issuer"):
        story.apply(AUTHORITY, ("licenses.license.renew", renew(story, old)))


def test_an_unbound_license_is_bound_once(story: Story) -> None:
    handle = issue(story)
    body = BindHolder(
        license=handle,
        credential=random_bytes("credential", 32),
        credential_key=str(BY.public_key),
        holder=random_bytes("holder", 32),
    )
    story.apply(BY, ("licenses.license.bind_holder", body))
    record = story.license(handle)
    assert (record.holder, record.credential) == (body.holder, body.credential)
    with refused("license.already_bound"):
        story.apply(BY, ("licenses.license.bind_holder", body))
    other = issue(story)
    story.apply(BY, ("licenses.license.withhold", change(other)))
    with refused("license.not_valid"):
        story.apply(
            BY, ("licenses.license.bind_holder", body.model_copy(update={"license": other}))
        )


def test_a_suspended_issuer_puts_no_new_credential_under_an_old_license(story: Story) -> None:
    handle = issue(story)
    suspend = SuspendIssuer(type=TYPE, issuer=ISSUER, reason="audit")
    story.apply(AUTHORITY, ("licenses.issuer.suspend", suspend))
    body = BindHolder(
        license=handle,
        credential=random_bytes("other claims", 32),
        credential_key=str(BY.public_key),
        holder=random_bytes("accomplice", 32),
    )
    with refused("license.not_accredited"):
        story.apply(BY, ("licenses.license.bind_holder", body))
    story.apply(
        AUTHORITY,
        ("licenses.issuer.accredit", AccreditIssuer(type=TYPE, issuer=ISSUER, valid_from_ms=0)),
    )
    story.apply(BY, ("licenses.license.bind_holder", body))


# --- statuses ---------------------------------------------------------------------------------


def test_the_life_of_a_license_stays_in_its_record(story: Story) -> None:
    handle = issue(story)
    issued_ms = story.time_ms - 1000
    story.wait(DAY_MS)
    story.apply(BY, ("licenses.license.withhold", change(handle)))
    story.wait(DAY_MS)
    story.apply(BY, ("licenses.license.give_back", change(handle)))
    story.wait(DAY_MS)
    revoke = RevokeLicense(licenses=(handle,), reason="forged", status="03")
    story.apply(BY, ("licenses.license.revoke", revoke))
    record = story.license(handle)
    assert [each.status for each in record.history] == ["01", "02", "01", "03"]
    assert record.status_at(issued_ms - 1) is None
    days = [record.status_at(issued_ms + days * DAY_MS + 5000) for days in range(4)]
    assert [each and each.status for each in days] == ["01", "02", "01", "03"]


@pytest.mark.parametrize(
    ("first", "then", "code"),
    [
        ((), "give_back", "not_withheld"),
        (("withhold",), "withhold", "not_valid"),
        (("revoke",), "give_back", "not_withheld"),
        (("revoke",), "withhold", "not_valid"),
        (("revoke",), "revoke", "ended"),
    ],
)
def test_final_statuses_stay_and_steps_go_in_order(
    story: Story, first: tuple[str, ...], then: str, code: str
) -> None:
    handle = issue(story)

    def step(verb: str) -> None:
        model = RevokeLicense if verb == "revoke" else ChangeStatus
        body = model(licenses=(handle,), reason="check")
        story.apply(BY, (f"licenses.license.{verb}", body))

    for verb in first:
        step(verb)
    with refused(f"license.{code}"):
        step(then)


def test_all_credentials_of_a_license_change_together_or_none(story: Story) -> None:
    handles = tuple(issue(story) for _ in range(3))
    story.apply(BY, ("licenses.license.withhold", change(handles[1])))
    together = ChangeStatus(licenses=handles, reason="check")
    with refused("license.not_valid"):
        story.apply(BY, ("licenses.license.withhold", together))
    assert [story.license(handle).status for handle in handles] == ["01", "02", "01"]
    with refused("license.not_valid"):
        twice = ChangeStatus(licenses=(handles[0], handles[0]), reason="check")
        story.apply(BY, ("licenses.license.withhold", twice))


def test_nobody_but_its_issuer_changes_a_license(story: Story) -> None:
    handle = issue(story)
    for by in (key_of(STRANGER, "issuer"), AUTHORITY):
        with refused("license.not_issuer"):
            story.apply(by, ("licenses.license.withhold", change(handle)))
    with refused("license.unknown"):
        story.apply(BY, ("licenses.license.withhold", change(bytes(32))))


def test_the_successor_of_a_dissolved_issuer_takes_over(story: Story) -> None:
    handle = issue(story)
    dissolve = DissolveOrganisation(uscc=ISSUER, successor=STRANGER)
    story.apply(key_of(BEIJING, "registrar"), ("ledger.organisation.dissolve", dissolve))
    story.apply(key_of(STRANGER, "issuer"), ("licenses.license.withhold", change(handle)))
    assert story.license(handle).status == "02"


def test_a_full_history_takes_no_more_but_a_revocation(story: Story) -> None:
    handle = issue(story)
    record = story.license(handle)
    history = (Change("01", 0, 1, ISSUER, "issued"),) * MAX_STATUS_CHANGES
    story.values[f"licenses/license/{handle.hex()}"] = record._replace(history=history).to_value()
    with refused("license.too_many_changes"):
        story.apply(BY, ("licenses.license.withhold", change(handle)))
    revoke = RevokeLicense(licenses=(handle,), reason="end")
    story.apply(BY, ("licenses.license.revoke", revoke))


# --- records and bodies -----------------------------------------------------------------------


def test_records_survive_the_way_through_the_state(story: Story) -> None:
    handle = issue(story)
    record = story.license(handle)
    assert License.from_value(handle, record.to_value()) == record
    full = record._replace(
        holder=bytes(32),
        document=bytes(32),
        valid_to_ms=9000,
        previous=bytes(32),
        last_use=bytes(32),
        pending=((bytes(32), 5),),
        uses=1,
    )
    assert License.from_value(handle, full.to_value()) == full


@pytest.mark.parametrize(
    "field",
    [f for f in IssueLicense.model_fields if f not in ("holder", "document", "valid_to_ms")],
)
def test_a_body_without_a_required_field_is_refused(story: Story, field: str) -> None:
    body = dict(story.prepare(None).body)
    body.pop(field)
    with pytest.raises(ValidationError):
        IssueLicense(**body)


def test_bodies_take_no_unknown_fields_and_no_near_types(story: Story) -> None:
    body = dict(story.prepare(None).body)
    for changes in ({"extra": 1}, {"license": "00" * 32}, {"valid_from_ms": "0"}, {"holder": b""}):
        with pytest.raises(ValidationError):
            IssueLicense(**{**body, **changes})


def test_codes_are_named_after_their_operations() -> None:
    for operation in OPERATIONS:
        module, noun, _ = operation.kind.split(".")
        assert all(code.startswith(f"{module}.{noun}.") for code in operation.codes)
        assert len(set(operation.codes)) == len(operation.codes)
