"""The first part of the story: the network, what the department is responsible for, and what rests on that."""

from __future__ import annotations

from cli.demo import content
from cli.demo.world import StoryError, World, now_ms, operation
from cli.sample import QUERY_NODES, VALIDATORS, by_short_name
from cli.validation import build, build_from
from directory.codes import Collection
from directory.importing import entries_from_statement, publish_operation
from directory.models import ENTRY_MODELS, ApproveEntry
from directory.statement import parse_statement
from ledger.membership_operations import RegisterOrganisation

_SERVICE_HALL = "12110112MB1A001329"


def network_up(world: World) -> list[str]:
    """Start all nodes; register an organisation at one and see it at another."""
    world.start_nodes(*VALIDATORS, *QUERY_NODES)
    tongzhou = by_short_name("tongzhou")
    body = build(
        RegisterOrganisation,
        uscc=_SERVICE_HALL,
        name="通州区政务服务大厅 Tongzhou Service Hall",
        level="district",
        division=tongzhou.division,
        parent=tongzhou.uscc,
    )
    registered = operation("ledger.organisation.register", body)
    result = world.commit("tongzhou-registrar", [registered])
    status = world.await_online("hebei", len(VALIDATORS))
    return [
        f"chain {world.network.chain_id}",
        f"{status.online} of {status.total} validators online, query node {', '.join(QUERY_NODES)}",
        "Tongzhou's service hall registered: " + world.shown_by(result.id, "hebei"),
    ]


def statement_imported(world: World) -> list[str]:
    """Read the department's statement and submit every paragraph as a responsibility."""
    statement = parse_statement(content.statement())
    found = statement.responsibilities
    if len(found) != 8 or [one.number for one in found if one.catch_all] != [8]:
        raise StoryError("the statement should hold eight responsibilities, the eighth catch-all")
    entries = entries_from_statement(statement, content.DEPARTMENT.uscc)
    operations = [publish_operation(entry) for entry in entries]
    result = world.commit("tongzhou-editor", operations)
    return [
        f"{len(found)} responsibilities of {content.DEPARTMENT.name}",
        f"number 8 is a catch-all clause and covers nothing: {found[7].text}",
        world.shown_by(result.id, "tianjin"),
    ]


def directory_approved(world: World) -> list[str]:
    """The competent authorities approve: Tongzhou's the responsibilities, a second officer the regulation."""
    department = content.DEPARTMENT.uscc
    identifiers = [f"{department}-{number}" for number in range(1, 9)]
    approval = _approve(world, "tongzhou-approver", "responsibility", *identifiers)
    _publish(world, "national-editor", "instrument", content.instrument())
    _approve(world, "national-approver", "instrument", content.INSTRUMENT_ID)
    _publish(world, "tongzhou-editor", "system", content.system())
    _approve(world, "tongzhou-approver", "system", content.SYSTEM_ID)
    _publish(world, "tongzhou-editor", "resource", content.resource())
    _approve(world, "tongzhou-approver", "resource", content.RESOURCE_ID)
    return [
        "eight responsibilities, the regulation, a system and its data count now",
        world.shown_by(approval, "national"),
    ]


def matter_registered(world: World) -> list[str]:
    """Register the matter that rests on responsibility 4 and Article 29."""
    _publish(world, "tongzhou-editor", "matter", content.matter())
    approval = _approve(world, "tongzhou-approver", "matter", content.MATTER)
    world.facts.matter_transaction = approval
    return [
        f"matter {content.MATTER}: {content.matter()['name']}",
        f"rests on responsibility 4 and article {content.ARTICLE} of {content.INSTRUMENT_ID}",
        f"may ask for {', '.join(content.LISTED_FIELDS)} of a residence permit, nothing else",
        world.shown_by(approval, "xiongan"),
    ]


def entrusted(world: World) -> list[str]:
    """The department entrusts the service centre in Tianjin with accepting the matter."""
    entry = content.entrustment(now_ms())
    _publish(world, "tongzhou-editor", "entrustment", entry)
    identifier = f"{entry['department']}-{entry['organisation']}"
    approval = _approve(world, "tongzhou-approver", "entrustment", identifier)
    return [
        f"{content.DEPARTMENT.name} entrusts {content.CENTRE.name}",
        world.shown_by(approval, "tianjin"),
    ]


def _publish(world: World, profile: str, collection: Collection, entry: dict[str, object]) -> None:
    body = build_from(ENTRY_MODELS[collection], entry)
    world.commit(profile, [operation(f"directory.{collection}.publish", body)])


def _approve(world: World, profile: str, collection: Collection, *identifiers: str) -> str:
    """Approve what waits, as the approver's node shows it; return the transaction's id."""
    operations = []
    for identifier in identifiers:
        version = world.pending_version(profile, collection, identifier)
        body = build(ApproveEntry, collection=collection, id=identifier, version=version)
        operations.append(operation("directory.entry.approve", body))
    return world.commit(profile, operations).id
