"""What the loader sends: transactions made and signed beforehand, so that making them costs the network nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from cli.bench.ground import Ground
from cli.bench.setting import register_matter
from cli.demo import content
from cli.demo.world import now_ms, operation
from cli.validation import build
from cli.window import Wish, make_request
from directory.models import System
from ledger.keys import SoftwareSigner
from ledger.suite import SHA256_ED25519
from ledger.transactions import Operation
from licenses.handles import SALT_BYTES
from licenses.issuance import IssuedLicense, license_randomness, make_offer, prepare_license
from licenses.models import ChangeStatus, RecordUse
from licenses.use import Item
from licenses.use_signing import sign_consent

OPERATIONS_PER_BATCH: Final = 100
_USES_PER_LICENSE: Final = 50
"""A license remembers a bounded number of requests until they expire."""

_LICENSES_PER_TRANSACTION: Final = 50

MIX: Final = "DUDDUDSDUD"
"""Of ten transactions in a mixed load six are directory entries, three uses, one a change of a license's status."""

Progress = Callable[[str], None]
Make = Callable[[Ground, int, Progress], list[bytes]]


@dataclass(frozen=True, slots=True)
class Load:
    """One kind of load. `operations` and `signatures` are those of one transaction; of a mixed load, the average.

    `most_per_s` is how many transactions are prepared for each second that is loaded without a rate.
    """

    name: str
    make: Make
    operations: float
    signatures: float
    most_per_s: int


@dataclass(frozen=True, slots=True)
class HeldLicense:
    """A license on the ledger, with what its holder keeps."""

    issued: IssuedLicense
    holder: SoftwareSigner
    salt: bytes

    @property
    def handle(self) -> bytes:
        return self.issued.credential.handle


def directory_load(ground: Ground, count: int, progress: Progress) -> list[bytes]:
    """Return transactions of one directory entry each."""
    progress(f"signing {count} transactions")
    return [_entry(ground, number) for number in _new_numbers(count)]


def batch_load(ground: Ground, count: int, progress: Progress) -> list[bytes]:
    """Return transactions of a hundred directory entries each."""
    progress(f"signing {count} transactions of {OPERATIONS_PER_BATCH} operations")
    numbers, size = _new_numbers(count * OPERATIONS_PER_BATCH), OPERATIONS_PER_BATCH
    return [
        ground.sign(
            "tongzhou-editor", list(map(system_operation, numbers[start : start + size]))
        ).raw
        for start in range(0, len(numbers), size)
    ]


def authorisation_load(ground: Ground, count: int, progress: Progress) -> list[bytes]:
    """Set up the directory and licenses, then return transactions of one use each, every one consented."""
    register_matter(ground, progress)
    licenses = issue_licenses(ground, -(-count // _USES_PER_LICENSE), progress)
    progress(f"signing {count} requests, consents and transactions")
    return [_use(ground, licenses[number % len(licenses)]) for number in range(count)]


def mixed_load(ground: Ground, count: int, progress: Progress) -> list[bytes]:
    """Return directory entries, uses and changes of status as `MIX` says; each of the last has its own license."""
    register_matter(ground, progress)
    kinds = [MIX[number % len(MIX)] for number in range(count)]
    used = issue_licenses(ground, -(-kinds.count("U") // _USES_PER_LICENSE), progress)
    changed = iter(issue_licenses(ground, kinds.count("S"), progress))
    progress(f"signing {count} transactions")
    load = []
    for number, kind in zip(_new_numbers(count), kinds, strict=True):
        if kind == "D":
            load.append(_entry(ground, number))
        elif kind == "U":
            load.append(_use(ground, used[number % len(used)]))
        else:
            load.append(_withhold(ground, next(changed)))
    return load


DIRECTORY: Final = Load("directory", directory_load, 1, 1, 5_000)
AUTHORISATION: Final = Load("authorisation", authorisation_load, 1, 3, 2_500)
BATCH: Final = Load("batch", batch_load, OPERATIONS_PER_BATCH, 1, 150)
MIXED: Final = Load("mixed", mixed_load, 1, (6 + 3 * 3 + 1) / 10, 3_500)
LOADS: Final = {load.name: load for load in (DIRECTORY, AUTHORISATION, BATCH, MIXED)}


# --- licenses -----------------------------------------------------------------------------------------


def issue_licenses(ground: Ground, count: int, progress: Progress) -> list[HeldLicense]:
    """Put that many licenses on the ledger."""
    progress(f"issuing {count} licenses")
    made = list(_licenses(ground, count))
    for start in range(0, count, _LICENSES_PER_TRANSACTION):
        part = made[start : start + _LICENSES_PER_TRANSACTION]
        operations = [operation("licenses.license.issue", one.issued.body) for one in part]
        ground.commit("beijing-issuer", operations)
    return made


def _licenses(ground: Ground, count: int) -> Iterator[HeldLicense]:
    chain_id, issuer = ground.network.chain_id, ground.signer("beijing-issuer")
    for _ in range(count):
        holder, salt, now = SoftwareSigner.generate(), os.urandom(SALT_BYTES), now_ms()
        issued = prepare_license(
            SHA256_ED25519,
            issuer,
            chain_id=chain_id,
            issuer=content.ISSUER.uscc,
            license_type=content.LICENSE_TYPE,
            identifier=f"bench-{os.urandom(8).hex()}",
            fields=content.HOLDER_FIELDS,
            offer=make_offer(holder, chain_id, content.ISSUER.uscc, salt),
            valid_from_ms=now - content.DAY_MS,
            valid_to_ms=None,
            now_ms=now,
            randomness=os.urandom(license_randomness(len(content.HOLDER_FIELDS))),
        )
        yield HeldLicense(issued, holder, salt)


# --- single transactions ------------------------------------------------------------------------------


def system_operation(number: int) -> Operation:
    """Return the publication of an information system of the department."""
    body = build(
        System,
        id=f"{content.DEPARTMENT.uscc}-bench-{number}",
        name=f"System {number}",
        responsibilities=[f"{content.DEPARTMENT.uscc}-4"],
        network="extranet",
        hosting="district_cloud",
    )
    return operation("directory.system.publish", body)


def _new_numbers(count: int) -> range:
    """Return numbers of entries that no other load of the same ledger has."""
    first = 1 + int.from_bytes(os.urandom(6), "big")
    return range(first, first + count)


def _entry(ground: Ground, number: int) -> bytes:
    return ground.sign("tongzhou-editor", [system_operation(number)]).raw


def _use(ground: Ground, license_: HeldLicense) -> bytes:
    wish = Wish(
        organisation=content.CENTRE.uscc,
        sealing_key=ground.sealing_key("tianjin-centre").public_key,
        matter=content.MATTER,
        division=content.CENTRE.division,
        items=_ITEMS,
        window="1",
        case_number="bench",
        purpose="measurement",
        place="nowhere",
    )
    envelope = make_request(ground.signer("tianjin-operator"), ground.network.chain_id, wish)
    request = envelope.signed.request
    grants = [(license_.handle, content.LISTED_FIELDS, license_.salt, license_.holder)]
    consent = sign_consent(SHA256_ED25519, request, grants, expires_ms=request.expires_ms)
    body = RecordUse(request=envelope.signed.encode(), consent=consent.encode())
    return ground.sign("tianjin-recorder", [operation("licenses.use.record", body)]).raw


_ITEMS: Final = (Item(content.LICENSE_TYPE, content.LISTED_FIELDS),)


def _withhold(ground: Ground, license_: HeldLicense) -> bytes:
    body = ChangeStatus(licenses=(license_.handle,), reason="measurement")
    return ground.sign("beijing-issuer", [operation("licenses.license.withhold", body)]).raw
