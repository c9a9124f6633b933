"""The last part: a validator dies and returns, the license ends, the auditor looks back, all nodes agree."""

from __future__ import annotations

import datetime
import time
from typing import Final

from cli.demo import content
from cli.demo.steps_use import ask
from cli.demo.world import StoryError, World, operation
from cli.sample import VALIDATORS, by_short_name
from cli.tracing import trace_use
from cli.validation import build
from cli.window import record_operation
from ledger.files import replace_file
from ledger.membership_operations import RegisterOrganisation
from licenses.models import STATUS_NAMES, ChangeStatus, RevokeLicense

_ARCHIVE: Final = "12110112MB1A001404"
_VICTIM: Final = "hebei"
_AGREE_S: Final = 30.0
_TRACED: Final = (
    "use", "transaction", "license", "issuer", "matter", "responsibility", "article", "block", "proof",
)  # fmt: skip


def validator_killed(world: World) -> list[str]:
    """Kill a validator; the other three go on."""
    world.kill_node(_VICTIM)
    tongzhou = by_short_name("tongzhou")
    body = build(
        RegisterOrganisation,
        uscc=_ARCHIVE,
        name="通州区档案馆 Tongzhou Archive",
        level="district",
        division=tongzhou.division,
        parent=tongzhou.uscc,
    )
    result = world.commit("tongzhou-registrar", [operation("ledger.organisation.register", body)])
    world.facts.kept_transaction = result.id
    status = world.await_online("beijing", len(VALIDATORS) - 1)
    return [
        f"{_VICTIM} killed with SIGKILL; {status.online} of {status.total} online are a quorum",
        world.shown_by(result.id, "national"),
    ]


def validator_caught_up(world: World) -> list[str]:
    """Start it again: it verifies and takes over what it missed."""
    world.start_nodes(_VICTIM)
    return [
        f"{_VICTIM} is back and has caught up",
        world.shown_by(world.facts.kept_transaction, _VICTIM),
    ]


def withheld_refused(world: World) -> list[str]:
    """The issuer withholds the license; now it cannot be used."""
    result = _change(world, "withhold", "地址核查 address under review")
    withheld = world.shown_by(result, "national")
    case = ask(world, "tianjin", content.MATTER, content.LISTED_FIELDS)
    refusal = world.refuse(
        "tianjin-recorder",
        [record_operation(case)],
        "licenses.use.license_not_valid",
        ask="beijing",
    )
    return [f"withheld: {withheld}", f"a use is {refusal}"]


def given_back(world: World) -> list[str]:
    """The issuer gives the license back."""
    result = _change(world, "give_back", "核查完成 review completed")
    return [f"status {_status(world)} again", world.shown_by(result, "tianjin")]


def revoked(world: World) -> list[str]:
    """The issuer revokes the license for good."""
    body = build(
        RevokeLicense, licenses=[world.facts.handle], reason="迁出本市 moved away", status="07"
    )
    result = world.commit("beijing-issuer", [operation("licenses.license.revoke", body)])
    return [f"status {_status(world)}", world.shown_by(result.id, "xiongan")]


def past_status_proved(world: World) -> list[str]:
    """One bundle proves both: valid when it was used, revoked now."""
    bundle = world.client("national-auditor", "xiongan").license_evidence(world.facts.handle)
    path = world.directory / "revoked.bundle"
    replace_file(path, bundle)
    moment = datetime.datetime.fromtimestamp(world.facts.use_time_ms / 1000, datetime.UTC)
    common = ("license", "verify", "--offline", "--bundle", str(path))
    policy = ("--policy", str(world.directory / "policy.txt"))
    then = world.mulu(*common, *policy, "--at", moment.isoformat())
    now = world.mulu(*common, *policy, expect=1)
    return [
        f"at {moment:%H:%M:%S} UTC, when it was used: {then['result']}; now: {now['result']}",
        world.shown_by(world.facts.license_transaction, "hebei"),
    ]


def traced(world: World) -> list[str]:
    """The auditor goes back from the use to what it rested on, with a proof for every link."""
    case = world.facts.case
    assert case is not None, "asked before"
    links = trace_use(world.client("national-auditor", "xiongan"), case.use_id.hex(), world.policy)
    missing = [what for what in _TRACED if all(link.what != what for link in links)]
    if missing:
        raise StoryError(f"the trace lacks {', '.join(missing)}")
    lines = [f"{link.what}: {link.identifier} – {link.text}" for link in links]
    return [*lines, world.shown_by(world.facts.use_transaction, "beijing")]


def bundle_verified(world: World) -> list[str]:
    """The evidence on the use is one file; it verifies offline, and not with a byte changed."""
    case = world.facts.case
    assert case is not None, "asked before"
    data = world.client("national-auditor", "xiongan").use_evidence(case.use_id.hex())
    good, bad = world.directory / "use.bundle", world.directory / "changed.bundle"
    replace_file(good, data)
    middle = len(data) // 2
    replace_file(bad, data[:middle] + bytes((data[middle] ^ 1,)) + data[middle + 1 :])
    policy = ("--policy", str(world.directory / "policy.txt"))
    report = world.mulu("audit", "verify", str(good), *policy)
    refused = world.mulu("audit", "verify", str(bad), *policy, expect=2)
    return [
        f"{good.name}, {len(data)} bytes: {report['result']}; with one bit changed: {refused['result']}",
        world.shown_by(world.facts.use_transaction, "tianjin"),
    ]


def nodes_agree(world: World) -> list[str]:
    """All five nodes name the same application hash: the same history, state and validators."""
    hashes = app_hashes(world)
    if len(set(hashes.values())) != 1:
        raise StoryError(f"application hashes differ: {hashes}")
    return [
        f"application hash of {', '.join(hashes)}: {next(iter(hashes.values()))}",
        world.shown_by(world.facts.kept_transaction, "xiongan"),
    ]


def app_hashes(world: World) -> dict[str, str]:
    """Return each node's application hash, once they agree or a deadline has passed."""
    deadline = time.monotonic() + _AGREE_S
    while True:
        hashes = {
            place.name: world.client("national-auditor", place.name).network().app_hash
            for place in world.network.nodes
            if place.name in world.processes
        }
        if len(set(hashes.values())) == 1 or time.monotonic() > deadline:
            return hashes
        time.sleep(0.1)


def _change(world: World, verb: str, reason: str) -> str:
    body = build(ChangeStatus, licenses=[world.facts.handle], reason=reason)
    return world.commit("beijing-issuer", [operation(f"licenses.license.{verb}", body)]).id


def _status(world: World) -> str:
    code = world.client("beijing-issuer").license(world.facts.handle)["status"]
    return f"{code} {STATUS_NAMES[code]}"
