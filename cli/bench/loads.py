"""What the loader sends: transactions made and signed beforehand, so that making them costs the network nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from cli.demo import content
from cli.demo.steps_directory import directory_approved as approve_directory
from cli.demo.steps_directory import entrusted, matter_registered, statement_imported
from cli.demo.world import World, now_ms, operation
from cli.validation import build, build_from
from cli.window import Wish, make_request
from directory.models import System
from ledger.keys import SoftwareSigner
from ledger.suite import SHA256_ED25519
from ledger.transactions import Operation
from licenses.handles import SALT_BYTES
from licenses.issuance import IssuedLicense, license_randomness, make_offer, prepare_license
from licenses.models import AccreditIssuer, DefineType, RecordUse
from licenses.use import Item, sign_consent

OPERATIONS_PER_BATCH: Final = 100
_USES_PER_LICENSE: Final = 50
"""A license remembers a bounded number of requests until they expire."""

_LICENSES_PER_TRANSACTION: Final = 50

Progress = Callable[[str], None]


def directory_load(world: World, count: int, progress: Progress) -> list[bytes]:
    """Return transactions of one directory entry each."""
    progress(f"signing {count} transactions")
    return [world.sign("tongzhou-editor", [_system(number)]).raw for number in range(count)]


def batch_load(world: World, count: int, progress: Progress) -> list[bytes]:
    """Return transactions of a hundred directory entries each."""
    progress(f"signing {count} transactions of {OPERATIONS_PER_BATCH} operations")
    size = OPERATIONS_PER_BATCH
    return [
        world.sign("tongzhou-editor", [_system(first * size + one) for one in range(size)]).raw
        for first in range(count)
    ]


def authorisation_load(world: World, count: int, progress: Progress) -> list[bytes]:
    """Set up the directory and licenses, then return transactions of one use each, every one consented."""
    progress("registering the matter and what it rests on")
    for step in (statement_imported, approve_directory, matter_registered, entrusted):
        step(world)
    define = operation("licenses.type.define", build_from(DefineType, content.license_type()))
    accredit = operation(
        "licenses.issuer.accredit", build_from(AccreditIssuer, content.accreditation(now_ms()))
    )
    world.commit("residence-ministry", [define, accredit])
    licenses = _issue(world, -(-count // _USES_PER_LICENSE), progress)
    progress(f"signing {count} requests, consents and transactions")
    uses = []
    for number in range(count):
        issued, signer, salt = licenses[number % len(licenses)]
        uses.append(_use(world, issued, signer, salt))
    return uses


def _issue(
    world: World, count: int, progress: Progress
) -> list[tuple[IssuedLicense, SoftwareSigner, bytes]]:
    progress(f"issuing {count} licenses")
    made = [_license(world, number) for number in range(count)]
    for start in range(0, count, _LICENSES_PER_TRANSACTION):
        part = made[start : start + _LICENSES_PER_TRANSACTION]
        operations = [operation("licenses.license.issue", one.body) for one, _, _ in part]
        world.commit("beijing-issuer", operations)
    return made


def _license(world: World, number: int) -> tuple[IssuedLicense, SoftwareSigner, bytes]:
    holder, salt = SoftwareSigner.generate(), os.urandom(SALT_BYTES)
    issued = prepare_license(
        SHA256_ED25519,
        world.signer("beijing-issuer"),
        chain_id=world.network.chain_id,
        issuer=content.ISSUER.uscc,
        license_type=content.LICENSE_TYPE,
        identifier=f"bench-{number}",
        fields=content.HOLDER_FIELDS,
        offer=make_offer(holder, world.network.chain_id, content.ISSUER.uscc, salt),
        valid_from_ms=now_ms() - content.DAY_MS,
        valid_to_ms=None,
        now_ms=now_ms(),
        randomness=os.urandom(license_randomness(len(content.HOLDER_FIELDS))),
    )
    return issued, holder, salt


def _use(world: World, issued: IssuedLicense, holder: SoftwareSigner, salt: bytes) -> bytes:
    wish = Wish(
        organisation=content.CENTRE.uscc,
        sealing_key=world.sealing_key("tianjin-centre").public_key,
        matter=content.MATTER,
        division=content.CENTRE.division,
        items=_ITEMS,
        window="1",
        case_number="bench",
        purpose="measurement",
        place="nowhere",
    )
    envelope = make_request(world.signer("tianjin-operator"), world.network.chain_id, wish)
    request = envelope.signed.request
    grants = [(issued.credential.handle, content.LISTED_FIELDS, salt, holder)]
    consent = sign_consent(SHA256_ED25519, request, grants, expires_ms=request.expires_ms)
    body = RecordUse(request=envelope.signed.encode(), consent=consent.encode())
    return world.sign("tianjin-recorder", [operation("licenses.use.record", body)]).raw


_ITEMS: Final = (Item(content.LICENSE_TYPE, content.LISTED_FIELDS),)


def _system(number: int) -> Operation:
    body = build(
        System,
        id=f"{content.DEPARTMENT.uscc}-bench-{number}",
        name=f"System {number}",
        responsibilities=[f"{content.DEPARTMENT.uscc}-4"],
        network="extranet",
        hosting="district_cloud",
    )
    return operation("directory.system.publish", body)


Load = Callable[[World, int, Progress], list[bytes]]

LOADS: Final[dict[str, tuple[Load, int, int, int]]] = {
    "directory": (directory_load, 1, 1, 4_000),
    "authorisation": (authorisation_load, 1, 3, 2_000),
    "batch": (batch_load, OPERATIONS_PER_BATCH, 1, 120),
}
"""Each load, the operations and the signatures of one of its transactions, and how many of them a second are prepared
at most."""
