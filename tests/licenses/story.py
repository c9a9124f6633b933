"""A small world for tests: organisations, a matter in force, an issuer, a holder; real operations on a sample chain.

Every operation goes through its body model, its table entry's role check and its handler, in a signed transaction
that the sample chain commits; so whatever tests prove rests on real entries, states, proofs and signatures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from directory.operations import OPERATIONS as DIRECTORY_OPERATIONS
from directory.records import load_record
from ledger import membership
from ledger.bundle import Bundle
from ledger.codec import Value, decode, encode
from ledger.errors import InvalidOperation
from ledger.keys import SealingKey, SoftwareSigner
from ledger.membership import EnrolledKey, Organisation
from ledger.membership_operations import OPERATIONS as MEMBERSHIP_OPERATIONS
from ledger.operations import Body, Context, body_value, operation_table
from ledger.state import Overlay
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.transactions import Operation, Transaction, sign_transaction
from licenses.details import RequestDetails
from licenses.evidence import license_keys, license_subject, use_keys, use_subject
from licenses.identifiers import LicenseIdentifier
from licenses.issuance import HolderOffer, IssuedLicense, license_randomness, prepare_license
from licenses.models import License, RecordUse, find_license
from licenses.operations import OPERATIONS as LICENSE_OPERATIONS
from licenses.use import Basis, Item, RequestEnvelope, SignedApproval, SignedConsent
from licenses.use_signing import sign_consent, sign_request
from tests.ledger.chain import uscc
from tests.ledger.sample_chain import CHAIN_ID, START_MS, SampleChain, signer

TABLE = operation_table(MEMBERSHIP_OPERATIONS, DIRECTORY_OPERATIONS, LICENSE_OPERATIONS)

NATIONAL = uscc("000000")
BEIJING = uscc("110000")
TIANJIN = uscc("120000")
HEBEI = uscc("130000")
TONGZHOU = uscc("110112")
DEPARTMENT = uscc("110112", 2)
CENTRE = uscc("120000", 3)
ISSUER = uscc("110000", 4)
STRANGER = uscc("120000", 5)

TYPE = BEIJING + "001"
OTHER_TYPE = BEIJING + "002"
MATTER = DEPARTMENT + "0001000000001"
INSTRUMENT = f"{DEPARTMENT}-housing-rule"
FIELDS = {"name": "李晓", "address": "北京市通州区某路 1 号", "birth_date": "1990-01-01"}

DAY_MS = 24 * 3_600_000
FOREVER_MS = 4_000_000_000_000


def key_of(organisation: str, role: str) -> SoftwareSigner:
    return signer(f"{role} of {organisation}")


def sealing_key_of(organisation: str) -> SealingKey:
    return SealingKey.from_secret(hashlib.sha256(f"seal {organisation}".encode()).digest())


def random_bytes(label: str, count: int) -> bytes:
    """Return bytes that differ by label, the same in every run."""
    return hashlib.shake_256(label.encode()).digest(count)


def _organisation(
    code: str, level: str, division: str, parent: str = NATIONAL, authority: bool = False
) -> Organisation:
    sealing_key = sealing_key_of(code).public_key.hex()
    name = f"organisation {code}"
    parent = "" if code == NATIONAL else parent
    return Organisation(code, name, level, division, parent, authority, sealing_key, "active", "")


def organisations() -> list[Organisation]:
    """Return the organisations of the world."""
    return [
        _organisation(NATIONAL, "national", "000000", authority=True),
        _organisation(BEIJING, "municipal", "110000", authority=True),
        _organisation(TIANJIN, "municipal", "120000", authority=True),
        _organisation(HEBEI, "municipal", "130000", authority=True),
        _organisation(TONGZHOU, "district", "110112", BEIJING, authority=True),
        _organisation(DEPARTMENT, "district", "110112", TONGZHOU),
        _organisation(CENTRE, "municipal", "120000", TIANJIN),
        _organisation(ISSUER, "municipal", "110000", BEIJING),
        _organisation(STRANGER, "municipal", "120000", TIANJIN),
    ]


DIVISIONS = {one.uscc: one.division for one in organisations()}
"""Where each of them is."""


def keys() -> dict[str, EnrolledKey]:
    """Return a key for each role of each organisation."""
    authorities = (NATIONAL, BEIJING, TIANJIN, HEBEI, TONGZHOU)
    others = (DEPARTMENT, CENTRE, ISSUER, STRANGER)
    roles = {
        **dict.fromkeys(authorities, ("registrar", "approver", "issuer", "governor")),
        **dict.fromkeys(
            others, ("registrar", "editor", "issuer", "operator", "recorder", "officer")
        ),
    }
    return {
        str(key_of(organisation, role).public_key): EnrolledKey(
            organisation, (role,), "active", START_MS, None, None
        )
        for organisation, held in roles.items()
        for role in held
    }


@dataclass(frozen=True)
class Holder:
    """A license holder without a wallet on disk: key, salt, license."""

    signer: SoftwareSigner
    salt: bytes
    issued: IssuedLicense

    @property
    def handle(self) -> bytes:
        return self.issued.body.license


class Story:
    """The world. `time_ms` is the time of the next block."""

    chain_id = CHAIN_ID

    def __init__(self) -> None:
        self.chain = SampleChain()
        self.values: dict[str, Value] = {}
        self.numbers = 0
        self.uses: list[tuple[bytes, bytes]] = []
        overlay = Overlay(self)
        membership.initial_state(
            overlay,
            organisations=organisations(),
            keys=keys(),
            certificate_authorities=[],
            validators=[member.validator for member in self.chain.members],
        )
        self._commit(overlay, ())

    @property
    def time_ms(self) -> int:
        return self.chain.time_ms + 1000

    def get(self, key: str) -> Value | None:
        return self.values.get(key)

    def wait(self, duration_ms: int) -> None:
        """Let the next block be that much later."""
        self.chain.time_ms += duration_ms

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    def apply(self, by: SoftwareSigner, *operations: tuple[str, Body]) -> bytes:
        """Commit a transaction and return its id.

        Raises:
            InvalidOperation: an operation is refused; then nothing has changed.
        """
        transaction = self._signed(by, *operations)
        overlay = Overlay(self)
        enrolled = membership.enrolled_key(self, str(by.public_key))
        assert enrolled is not None and enrolled.active, (
            "the application refuses it before handlers"
        )
        for index, operation in enumerate(transaction.operations):
            kind = TABLE[operation.kind]
            assert not kind.roles or kind.roles & set(enrolled.roles), f"{kind.kind}: role"
            context = Context(
                SUITE,
                CHAIN_ID,
                self.chain.height + 1,
                self.time_ms,
                transaction.id,
                index,
                by.public_key,
                enrolled.organisation,
                frozenset(enrolled.roles),
            )
            try:
                kind.handler(overlay, kind.body.model_validate(operation.body), context)
            except InvalidOperation as error:
                assert error.code in kind.codes, f"{error.code} is not listed"
                raise
        self._commit(overlay, (transaction.raw,))
        return transaction.id

    def fail(self, by: SoftwareSigner, code: str, *operations: tuple[str, Body]) -> None:
        """Commit a transaction that stands in the log with this code, because its first operation failed."""
        self.chain.commit(transactions=(self._signed(by, *operations).raw,), failed=code)

    def _signed(self, by: SoftwareSigner, *operations: tuple[str, Body]) -> Transaction:
        return sign_transaction(
            SUITE,
            by,
            CHAIN_ID,
            [Operation(kind, body_value(body)) for kind, body in operations],
            valid_until_ms=self.time_ms + 60_000,
            nonce=self.number().to_bytes(16, "big"),
        )

    def _commit(self, overlay: Overlay, transactions: Sequence[bytes]) -> None:
        changes = dict(overlay.changes)
        self.chain.commit(changes, transactions=transactions)
        for key, value in changes.items():
            if value is None:
                self.values.pop(key, None)
            else:
                self.values[key] = decode(encode(value))

    def publish(self, collection: str, body: Body, approver: str = TONGZHOU) -> None:
        """Publish a directory entry of the department, or amend it, and approve it."""
        known = load_record(self, collection, body.identifier)  # type: ignore[attr-defined, arg-type]
        verb = "amend" if known is not None and known.effective is not None else "publish"
        self.apply(key_of(DEPARTMENT, "editor"), (f"directory.{collection}.{verb}", body))
        self.approve(collection, body.identifier, approver)  # type: ignore[attr-defined]

    def approve(self, collection: str, identifier: str, approver: str = TONGZHOU) -> None:
        from directory.models import ApproveEntry

        record = load_record(self, collection, identifier)  # type: ignore[arg-type]
        assert record is not None and record.pending is not None
        approval = ApproveEntry(
            collection=collection,  # type: ignore[arg-type]
            id=identifier,
            version=record.pending.version,
        )
        self.apply(key_of(approver, "approver"), ("directory.entry.approve", approval))

    def publish_directory(self) -> None:
        """Put a rule, two responsibilities, a matter resting on them and an entrustment in force."""
        from directory.models import Entrustment, Instrument, Responsibility

        self.publish(
            "instrument",
            Instrument(
                id=INSTRUMENT,
                kind="rule",
                name="Rule on housing",
                issuer="Tongzhou",
                in_force_from_ms=0,
                articles=("1", "2", "3"),
                digest=bytes(32),
            ),
        )
        for number, catch_all in ((1, False), (2, True)):
            self.publish(
                "responsibility",
                Responsibility(
                    department=DEPARTMENT,
                    number=number,
                    name=f"Responsibility {number}",
                    text="Registers residents' homes.",
                    catch_all=catch_all,
                ),
            )
        self.publish("matter", self.matter())
        self.publish(
            "entrustment",
            Entrustment(
                department=DEPARTMENT,
                organisation=CENTRE,
                matters=(MATTER,),
                valid_from_ms=0,
                valid_to_ms=FOREVER_MS,
                document="entrustment of 2025",
                digest=bytes(32),
            ),
        )

    def matter(self, modes: tuple[str, ...] = ("holder", "statutory")) -> Body:
        from directory.models import ArticleReference, DemandedField, LicenseDemand, Matter

        demands = tuple(
            LicenseDemand(
                type=code,
                fields=tuple(
                    DemandedField(name=name, reason="to register the home")
                    for name in ("address", "name")
                ),
            )
            for code in (TYPE, OTHER_TYPE)
        )
        return Matter(
            code=MATTER,
            name="Register a home",
            department=DEPARTMENT,
            responsibilities=(f"{DEPARTMENT}-1",),
            articles=(ArticleReference(instrument=INSTRUMENT, article="1"),),
            licenses=demands,
            modes=modes,  # type: ignore[arg-type]
        )

    def define_types(self) -> None:
        """Define two types and accredit the issuer for both."""
        from licenses.models import AccreditIssuer, DefineType, LicenseField

        authority = key_of(BEIJING, "issuer")
        fields = tuple(LicenseField(name=name, title=name) for name in FIELDS)
        for code in (TYPE, OTHER_TYPE):
            define = DefineType(type=code, name="Permit", holder_kind="person", fields=fields)
            self.apply(authority, ("licenses.type.define", define))
            accredit = AccreditIssuer(type=code, issuer=ISSUER, valid_from_ms=0)
            self.apply(authority, ("licenses.issuer.accredit", accredit))

    def prepare(
        self,
        offer: HolderOffer | None,
        *,
        license_type: str = TYPE,
        valid_from_ms: int = 0,
        valid_to_ms: int | None = None,
    ) -> IssuedLicense:
        """Make a license, not yet recorded."""
        number = self.number()
        identifier = LicenseIdentifier.build(license_type, ISSUER, f"{number:08}")
        return prepare_license(
            SUITE,
            key_of(ISSUER, "issuer"),
            chain_id=self.chain_id,
            issuer=ISSUER,
            license_type=license_type,
            identifier=str(identifier),
            fields=FIELDS,
            offer=offer,
            valid_from_ms=valid_from_ms,
            valid_to_ms=valid_to_ms,
            now_ms=self.time_ms,
            randomness=random_bytes(f"license {number}", license_randomness(len(FIELDS))),
        )

    def holder(
        self, name: str = "holder", *, license_type: str = TYPE, valid_to_ms: int | None = None
    ) -> Holder:
        """Issue a license to a new holder and record it."""
        from licenses.issuance import make_offer

        key, salt = signer(name), random_bytes(f"salt {name}", 32)
        offer = make_offer(key, self.chain_id, ISSUER, salt)
        issued = self.prepare(offer, license_type=license_type, valid_to_ms=valid_to_ms)
        self.apply(key_of(ISSUER, "issuer"), ("licenses.license.issue", issued.body))
        return Holder(key, salt, issued)

    def license(self, handle: bytes) -> License:
        found = find_license(self, handle)
        assert found is not None
        return found

    def request(
        self,
        *,
        organisation: str = CENTRE,
        matter: str = MATTER,
        items: Sequence[Item] = (Item(TYPE, ("address", "name")),),
        operator: SoftwareSigner | None = None,
        basis: Basis | None = None,
        lifetime_ms: int = 300_000,
        sealing_key: bytes | None = None,
        chain_id: str | None = None,
        division: str = "",
    ) -> RequestEnvelope:
        """Sign a request as an operator of the organisation."""
        label = f"request {self.number()}"
        return sign_request(
            SUITE,
            operator or key_of(organisation, "operator"),
            chain_id=chain_id or self.chain_id,
            organisation=organisation,
            sealing_key=sealing_key or sealing_key_of(organisation).public_key,
            matter=matter,
            division=division or DIVISIONS[organisation],
            items=items,
            details=RequestDetails(
                random_bytes(label, 32), "3 号窗口", "case-1", "登记", "Tianjin"
            ),
            nonce=random_bytes(label, 16),
            expires_ms=self.time_ms + lifetime_ms,
            basis=basis,
        )

    def consent(
        self,
        envelope: RequestEnvelope,
        *holders: Holder,
        lifetime_ms: int = 300_000,
        by: SoftwareSigner | None = None,
    ) -> SignedConsent:
        request = envelope.signed.request
        return sign_consent(
            SUITE,
            request,
            [
                (holder.handle, item.fields, holder.salt, by or holder.signer)
                for holder, item in zip(holders, request.items, strict=True)
            ],
            expires_ms=self.time_ms + lifetime_ms,
        )

    def record(
        self,
        envelope: RequestEnvelope,
        *,
        consent: SignedConsent | None = None,
        approval: SignedApproval | None = None,
        by: SoftwareSigner | None = None,
    ) -> bytes:
        """Record a use and return the transaction's id."""
        body = RecordUse(
            request=envelope.signed.encode(),
            consent=None if consent is None else consent.encode(),
            approval=None if approval is None else approval.encode(),
        )
        by = by or key_of(envelope.signed.request.organisation, "recorder")
        transaction_id = self.apply(by, ("licenses.use.record", body))
        given = consent.consent if consent is not None else approval and approval.approval
        assert given, "validators let no other use pass"
        self.uses.append((given.use_id(SUITE), transaction_id))
        return transaction_id

    @property
    def last_use(self) -> bytes:
        """What names the use that was recorded last."""
        return self.uses[-1][0]

    def license_bundle(self, handle: bytes, *, time_s: int | None = None) -> bytes:
        """Return the bundle that a node gives about a license."""
        signed = self.chain.checkpoint(time_s)
        found = find_license(self, handle)
        keys = ("licenses/license/" + handle.hex(),) if found is None else license_keys(found)
        states = [self.chain.state_evidence(key, signed) for key in keys]
        return Bundle.of(license_subject(handle), states=states).encode(SUITE)

    def use_bundle(self, use_id: bytes) -> bytes:
        """Return the bundle that a node gives about a use."""
        from ledger.entries import BlockEntry, TransactionEntry, decode_entry
        from ledger.transactions import decode_transaction
        from licenses.disclosure import uses_in

        signed = self.chain.checkpoint()
        entries, use = [], None
        for index, encoding in enumerate(self.chain.entries):
            entry = decode_entry(encoding)
            if isinstance(entry, TransactionEntry):
                transaction = decode_transaction(SUITE, entry.transaction)
                for found in uses_in(SUITE, transaction, entry.height, index):
                    if found.id == use_id:
                        use = found
                        entries.append(self.chain.entry_evidence(index, signed))
            if isinstance(entry, BlockEntry) and use is not None and entry.height == use.height:
                entries.append(self.chain.entry_evidence(index, signed))
        assert use is not None
        records = tuple(self.license(each.handle) for each in use.licenses)
        states = [self.chain.state_evidence(key, signed) for key in use_keys(use, records)]
        return Bundle.of(use_subject(use_id), entries=entries, states=states).encode(SUITE)


def ready_story() -> Story:
    """Return a world in which a use can be recorded."""
    story = Story()
    story.publish_directory()
    story.define_types()
    return story
