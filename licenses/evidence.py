"""What a bundle of evidence about a license or a use is called, and which states it holds.

One about a license has the subject `license:<handle>` and the states that `license_keys` lists; one about a use has the
subject `use:<id>`, the transaction's entry, the block entry of its height and the states that `use_keys` lists.
"""

from __future__ import annotations

from directory.records import entry_key
from ledger.membership import enrolled_key_key, organisation_key
from licenses.disclosure import CommittedUse
from licenses.models import License, issuer_key, license_key, type_key


def license_subject(handle: bytes) -> str:
    """Return the subject of a bundle about a license."""
    return f"license:{handle.hex()}"


def use_subject(use_id: bytes) -> str:
    """Return the subject of a bundle about a use."""
    return f"use:{use_id.hex()}"


def license_keys(record: License) -> tuple[str, ...]:
    """Return the state keys that a bundle about this license holds, ascending."""
    return tuple(
        sorted(
            (
                license_key(record.handle),
                type_key(record.type),
                issuer_key(record.type, record.issuer),
                enrolled_key_key(record.credential_key),
                organisation_key(record.issuer),
            )
        )
    )


def use_keys(use: CommittedUse, records: tuple[License, ...]) -> tuple[str, ...]:
    """Return the state keys that a bundle about this use holds, ascending: of licenses, matter, organisation."""
    keys = {
        entry_key("matter", use.request.matter),
        organisation_key(use.request.organisation),
        enrolled_key_key(str(use.request.operator)),
    }
    for record in records:
        keys.update(license_keys(record))
    return tuple(sorted(keys))
