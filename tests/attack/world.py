"""A populated ledger to attack: records in every stage of their lives, and for each operation one that would succeed.

`populate` drives a real application through signed transactions in blocks. `World.good` then holds, for each kind of
operation, a body and the key whose signature makes it take effect in the next block: what fuzzing starts from, and
what shows that a refusal is not the only answer that the world gives. A bystander's organisation stands apart: its
keys and codes appear in no attack, so its own transaction must succeed in every block.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from directory.models import (
    ApproveEntry,
    ArticleReference,
    Entrustment,
    Entry,
    Instrument,
    Item,
    Matter,
    Opening,
    Resource,
    Responsibility,
    RetireEntry,
    ReturnEntry,
    Sharing,
    System,
    WithdrawEntry,
)
from directory.records import load_record
from ledger.application import Application
from ledger.commits import Commit
from ledger.keys import SoftwareSigner
from ledger.membership import EnrolledKey, Organisation
from ledger.membership_operations import (
    AmendOrganisation,
    DissolveOrganisation,
    RegisterCertificateAuthority,
    RegisterOrganisation,
    RevokeCertificateAuthority,
    RevokeKey,
    SetKeyRoles,
    enrol_key_body,
)
from ledger.operations import Body, body_value
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.transactions import Operation, Transaction
from ledger.validator_operations import ApproveValidator, ProposeValidator
from licenses.models import (
    AccreditIssuer,
    BindHolder,
    ChangeStatus,
    DefineType,
    LicenseField,
    RecordUse,
    RenewLicense,
    RevokeLicense,
    SuspendIssuer,
)
from licenses.use import Basis
from licenses.use_signing import sign_approval
from tests.ledger.chain import START_MS, signer, uscc
from tests.licenses.ledger_story import LedgerStory, story_genesis
from tests.licenses.story import (
    BEIJING,
    CENTRE,
    DEPARTMENT,
    FOREVER_MS,
    INSTRUMENT,
    ISSUER,
    NATIONAL,
    OTHER_TYPE,
    STRANGER,
    TIANJIN,
    TONGZHOU,
    TYPE,
    key_of,
    keys,
    random_bytes,
)

BYSTANDER = uscc("130000", 77)
BYSTANDING_EDITOR = signer("editor of the bystander")
SHORT_LIVED = uscc("110112", 8)
NEWCOMER = uscc("110112", 9)
REVOKED = signer("a key that is revoked")
ORPHANED = signer("a key of a dissolved organisation")
UNKNOWN = signer("a key that nobody enrolled")


@dataclass(frozen=True, slots=True)
class Good:
    """An operation that takes effect in the next block when `by` signs it."""

    kind: str
    body: Body
    by: SoftwareSigner


class World(LedgerStory):
    """The ledger under attack. `corpus` holds every body that took effect, by kind."""

    def __init__(self, directory: Path) -> None:
        bystander = Organisation(
            BYSTANDER, "Bystander", "municipal", "130000", NATIONAL, False, "", "active", ""
        )
        enrolled = EnrolledKey(BYSTANDER, ("editor",), "active", START_MS, None, None)
        genesis = story_genesis([bystander], {str(BYSTANDING_EDITOR.public_key): enrolled})
        super().__init__(directory, genesis)
        self.corpus: defaultdict[str, list[Body]] = defaultdict(list)
        self.good: dict[str, Good] = {}

    @property
    def application(self) -> Application:
        return self.ledger.application

    def apply(self, by: SoftwareSigner, *operations: tuple[str, Body]) -> bytes:
        transaction_id = super().apply(by, *operations)
        for kind, body in operations:
            self.corpus[kind].append(body)
        return transaction_id

    def expect(self, kind: str, body: Body, by: SoftwareSigner) -> None:
        """Keep an operation as the good one of its kind."""
        self.good[kind] = Good(kind, body, by)

    def sign(self, one: Good) -> Transaction:
        return self.ledger.transaction(Operation(one.kind, body_value(one.body)), by=one.by)

    def bystanding(self) -> Transaction:
        """Return a transaction that nothing in an attack can bear upon."""
        self.numbers += 1
        body = instrument(BYSTANDER, f"{self.numbers}")
        return self.sign(Good("directory.instrument.publish", body, BYSTANDING_EDITOR))

    @property
    def signers(self) -> tuple[SoftwareSigner, ...]:
        """Return who attacks: every role of every organisation of the story, and keys that no longer count."""
        pairs = [(key.organisation, role) for key in keys().values() for role in key.roles]
        return (*(key_of(*pair) for pair in pairs), REVOKED, ORPHANED, UNKNOWN)


def open_world(directory: Path) -> World:
    """Return the populated world in a new directory."""
    world = World(directory)
    world.publish_directory()
    world.define_types()
    _populate_directory(world)
    _populate_licenses(world)
    _populate_membership(world)
    return world


def twin_of(world: World, directory: Path) -> World:
    """Return another application that has executed the very same blocks."""
    twin = World(directory)
    history, tip = world.application.history, world.application.tip
    for height in range(1, tip.height + 1):
        block, commit = history.block(height), history.commit(height)
        assert block is not None and isinstance(commit, Commit)
        twin.application.apply_synced(block, commit)
    assert twin.application.tip.app_hash == tip.app_hash
    return twin


# --- the directory --------------------------------------------------------------------------------


def instrument(owner: str, name: str) -> Instrument:
    return Instrument(
        id=f"{owner}-rule-{name}",
        kind="rule",
        name="A rule",
        issuer="Tongzhou",
        in_force_from_ms=0,
        articles=("1", "2"),
        digest=bytes(32),
    )


def entries(number: int, trustee: str) -> tuple[Entry, ...]:
    """Return one entry of each collection."""
    system = f"{DEPARTMENT}-system-{number}"
    return (
        instrument(DEPARTMENT, f"{number}"),
        Responsibility(
            department=DEPARTMENT, number=10 + number, name="A task", text="Do it.", catch_all=False
        ),
        System(
            id=system,
            name="A system",
            responsibilities=(f"{DEPARTMENT}-1",),
            network="extranet",
            hosting="district_cloud",
        ),
        Resource(
            id=f"{DEPARTMENT}-resource-{number}",
            name="A resource",
            summary="What it holds.",
            format="database",
            systems=(f"{DEPARTMENT}-system-1",),
            items=(Item(name="a", type="text", grade="important", sensitive=True),),
            grade="important",
            confidential=False,
            sharing=Sharing(type="conditional", method="service", condition="for audits"),
            opening=Opening(open=False),
            update_cycle="daily",
        ),
        Matter(
            code=f"{DEPARTMENT}000200000000{number}",
            name="A matter",
            department=DEPARTMENT,
            responsibilities=(f"{DEPARTMENT}-1",),
            articles=(ArticleReference(instrument=INSTRUMENT, article="1"),),
            licenses=(),
            modes=(),
        ),
        Entrustment(
            department=DEPARTMENT,
            organisation=trustee,
            matters=(f"{DEPARTMENT}0001000000001",),
            valid_from_ms=0,
            valid_to_ms=FOREVER_MS,
            document="A letter",
            digest=bytes(32),
        ),
    )


def _populate_directory(world: World) -> None:
    """Put entries in force, retire and return some, leave others waiting; keep one good operation of each kind."""
    editor, approver = key_of(DEPARTMENT, "editor"), key_of(TONGZHOU, "approver")
    for entry in entries(1, ISSUER):
        world.publish(entry.collection, entry)
        title = "document" if isinstance(entry, Entrustment) else "name"
        amended = entry.model_copy(update={title: "Amended"})
        world.expect(f"directory.{entry.collection}.amend", amended, editor)
        retire = RetireEntry(id=entry.identifier, reason="no longer needed")
        world.expect(f"directory.{entry.collection}.retire", retire, editor)
    for entry in entries(3, TIANJIN):
        world.expect(f"directory.{entry.collection}.publish", entry, editor)
    old = entries(4, NATIONAL)
    for entry in old:
        world.publish(entry.collection, entry)
    for entry in old[:1] + old[-1:]:  # others rest on nothing of these two
        retire = RetireEntry(id=entry.identifier, reason="replaced")
        world.apply(editor, (f"directory.{entry.collection}.retire", retire))
        world.approve(entry.collection, entry.identifier)
    waiting = entries(2, STRANGER)
    for entry in waiting:
        world.apply(editor, (f"directory.{entry.collection}.publish", entry))
    versions = {entry.collection: _waiting_version(world, entry) for entry in waiting}
    withdrawn, returned, approved = waiting[0], waiting[1], waiting[2]
    world.expect(
        "directory.entry.withdraw",
        WithdrawEntry(
            collection=withdrawn.collection,
            id=withdrawn.identifier,
            version=versions[withdrawn.collection],
        ),
        editor,
    )
    world.expect(
        "directory.entry.return",
        ReturnEntry(
            collection=returned.collection,
            id=returned.identifier,
            version=versions[returned.collection],
            opinion="please say it clearly",
        ),
        approver,
    )
    world.expect(
        "directory.entry.approve",
        ApproveEntry(
            collection=approved.collection,
            id=approved.identifier,
            version=versions[approved.collection],
        ),
        approver,
    )


def _waiting_version(world: World, entry: Entry) -> bytes:
    record = load_record(world, entry.collection, entry.identifier)
    assert record is not None and record.pending is not None
    return record.pending.version


# --- licenses -------------------------------------------------------------------------------------


def _populate_licenses(world: World) -> None:
    """Issue licenses, withhold, revoke and use some; keep one good operation of each kind."""
    authority, issuer = key_of(BEIJING, "issuer"), key_of(ISSUER, "issuer")
    field = LicenseField(name="name", title="Name")
    new_type = DefineType(
        type=f"{BEIJING}003", name="New", holder_kind="organisation", fields=(field,)
    )
    world.expect("licenses.type.define", new_type, authority)
    accredited = AccreditIssuer(type=OTHER_TYPE, issuer=STRANGER, valid_from_ms=0)
    world.apply(authority, ("licenses.issuer.accredit", accredited))
    suspend = SuspendIssuer(type=OTHER_TYPE, issuer=STRANGER, reason="an audit")
    world.expect("licenses.issuer.suspend", suspend, authority)
    accredit = AccreditIssuer(type=TYPE, issuer=CENTRE, valid_from_ms=0, valid_to_ms=FOREVER_MS)
    world.expect("licenses.issuer.accredit", accredit, authority)

    person, withheld, ended, renewed = (world.holder(name) for name in ("a", "b", "c", "d"))
    hold = ChangeStatus(licenses=(withheld.handle,), reason="check")
    world.apply(issuer, ("licenses.license.withhold", hold))
    revoke = RevokeLicense(licenses=(ended.handle,), reason="forged papers")
    world.apply(issuer, ("licenses.license.revoke", revoke))
    world.expect("licenses.license.issue", world.prepare(None).body, issuer)
    again = world.prepare(None).body
    renew = RenewLicense(**dict(again), previous=renewed.handle)
    world.expect("licenses.license.renew", renew, issuer)
    unbound = world.prepare(None).body
    world.apply(issuer, ("licenses.license.issue", unbound))
    bind = BindHolder(
        license=unbound.license,
        credential=random_bytes("credential", 32),
        credential_key=unbound.credential_key,
        holder=random_bytes("holder", 32),
    )
    world.expect("licenses.license.bind_holder", bind, issuer)
    change = ChangeStatus(licenses=(person.handle,), reason="check")
    world.expect("licenses.license.withhold", change, issuer)
    world.expect("licenses.license.give_back", hold, issuer)
    revoke = RevokeLicense(licenses=(person.handle,), reason="moved away", status="06")
    world.expect("licenses.license.revoke", revoke, issuer)

    first = world.request(lifetime_ms=900_000)
    world.record(first, consent=world.consent(first, person))
    by_law = world.request(
        organisation=DEPARTMENT, basis=Basis(INSTRUMENT, "1"), lifetime_ms=800_000
    )
    request = by_law.signed.request
    grants = [(person.handle, item.fields) for item in request.items]
    approval = sign_approval(
        SUITE,
        key_of(DEPARTMENT, "officer"),
        request,
        grants,
        expires_ms=world.time_ms + 800_000,
    )
    world.record(by_law, approval=approval)
    second = world.request(lifetime_ms=850_000)
    consent = world.consent(second, person, lifetime_ms=850_000)
    use = RecordUse(request=second.signed.encode(), consent=consent.encode())
    world.expect("licenses.use.record", use, key_of(CENTRE, "recorder"))


# --- membership -----------------------------------------------------------------------------------


def _populate_membership(world: World) -> None:
    """Register, dissolve, enrol, revoke and propose; keep one good operation of each kind."""
    registrar = key_of(TONGZHOU, "registrar")

    def register(code: str) -> RegisterOrganisation:
        return RegisterOrganisation(
            uscc=code, name="New", level="district", division="110112", parent=TONGZHOU
        )

    world.apply(registrar, ("ledger.organisation.register", register(SHORT_LIVED)))
    enrol = enrol_key_body(ORPHANED, world.chain_id, SHORT_LIVED, ("editor",))
    world.apply(registrar, ("ledger.key.enrol", enrol))
    dissolve = DissolveOrganisation(uscc=SHORT_LIVED, successor=DEPARTMENT)
    world.apply(registrar, ("ledger.organisation.dissolve", dissolve))
    world.expect("ledger.organisation.register", register(NEWCOMER), registrar)
    amend = AmendOrganisation(uscc=DEPARTMENT, name="Housing", sealing_key="ab" * 32)
    world.expect("ledger.organisation.amend", amend, registrar)
    world.expect("ledger.organisation.dissolve", DissolveOrganisation(uscc=DEPARTMENT), registrar)

    own = key_of(DEPARTMENT, "registrar")
    enrol = enrol_key_body(REVOKED, world.chain_id, DEPARTMENT, ("editor", "recorder"))
    world.apply(own, ("ledger.key.enrol", enrol))
    world.apply(own, ("ledger.key.revoke", RevokeKey(key=str(REVOKED.public_key))))
    fresh = signer("a fresh key")
    enrol = enrol_key_body(fresh, world.chain_id, DEPARTMENT, ("editor",))
    world.expect("ledger.key.enrol", enrol, own)
    operator = str(key_of(DEPARTMENT, "operator").public_key)
    roles = SetKeyRoles(key=operator, roles=("officer", "operator"))
    world.expect("ledger.key.set_roles", roles, own)
    world.expect("ledger.key.revoke", RevokeKey(key=operator, compromised_since_ms=START_MS), own)

    governor = key_of(BEIJING, "governor")
    certificate = RegisterCertificateAuthority(name="beijing-nodes", certificate=b"\x30\x00")
    world.apply(governor, ("ledger.certificate_authority.register", certificate))
    another = RegisterCertificateAuthority(name="beijing-more", certificate=b"\x30\x01")
    world.expect("ledger.certificate_authority.register", another, governor)
    world.expect(
        "ledger.certificate_authority.revoke",
        RevokeCertificateAuthority(name="beijing-nodes"),
        governor,
    )
    opened = world.apply(governor, ("ledger.validator.propose", _new_keys("first")))
    world.expect(
        "ledger.validator.approve",
        ApproveValidator(proposal=f"{opened.hex()}-0"),
        key_of(TIANJIN, "governor"),
    )
    world.expect("ledger.validator.propose", _new_keys("second"), governor)


def _new_keys(label: str) -> ProposeValidator:
    consensus, log, witness = (
        str(signer(f"{label} {use}").public_key) for use in ("consensus", "log", "witness")
    )
    return ProposeValidator(
        action="replace",
        name="beijing",
        consensus_key=consensus,
        log_key=log,
        witness_key=witness,
    )
