"""What uses of licenses rest on: the department's directory, a matter, an entrustment, a license type, its issuer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from cli.bench.ground import Ground
from cli.demo import content
from cli.demo.world import now_ms, operation
from cli.validation import build, build_from
from directory.codes import Collection
from directory.importing import entries_from_statement, publish_operation
from directory.models import ENTRY_MODELS, ApproveEntry
from directory.statement import parse_statement
from licenses.models import AccreditIssuer, DefineType

_RESPONSIBILITIES = tuple(f"{content.DEPARTMENT.uscc}-{number}" for number in range(1, 9))


def register_responsibilities(ground: Ground) -> None:
    """Register what the department is responsible for, and the regulation; both count afterwards."""
    entries = entries_from_statement(parse_statement(content.statement()), content.DEPARTMENT.uscc)
    ground.commit("tongzhou-editor", [publish_operation(entry) for entry in entries])
    _approve(ground, "tongzhou-approver", "responsibility", _RESPONSIBILITIES)
    instrument = content.instrument()
    _register(
        ground, ("national-editor", "national-approver"), "instrument", instrument, instrument["id"]
    )


def register_matter(ground: Ground, progress: Callable[[str], None]) -> None:
    """Register a matter with all that it rests on, entrust the centre in Tianjin with it, and accredit an issuer."""
    progress("registering the matter and what it rests on")
    register_responsibilities(ground)
    department = ("tongzhou-editor", "tongzhou-approver")
    _register(ground, department, "matter", content.matter(), content.MATTER)
    entrusted = content.entrustment(now_ms())
    identifier = f"{entrusted['department']}-{entrusted['organisation']}"
    _register(ground, department, "entrustment", entrusted, identifier)
    define = operation("licenses.type.define", build_from(DefineType, content.license_type()))
    accredit = operation(
        "licenses.issuer.accredit", build_from(AccreditIssuer, content.accreditation(now_ms()))
    )
    ground.commit("residence-ministry", [define, accredit])


def _register(
    ground: Ground,
    profiles: tuple[str, str],
    collection: Collection,
    entry: Mapping[str, object],
    identifier: str,
) -> None:
    """Publish an entry as one profile and approve it as the other."""
    editor, approver = profiles
    body = build_from(ENTRY_MODELS[collection], dict(entry))
    ground.commit(editor, [operation(f"directory.{collection}.publish", body)])
    _approve(ground, approver, collection, (identifier,))


def _approve(
    ground: Ground, profile: str, collection: Collection, identifiers: Sequence[str]
) -> None:
    operations = []
    for identifier in identifiers:
        version = ground.pending_version(profile, collection, identifier)
        body = build(ApproveEntry, collection=collection, id=identifier, version=version)
        operations.append(operation("directory.entry.approve", body))
    ground.commit(profile, operations)
