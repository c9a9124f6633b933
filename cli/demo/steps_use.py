"""The second part: a license of Beijing is used at a window in Tianjin, and anyone can verify it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from cli.demo import content
from cli.demo.wallet_process import WalletProcess
from cli.demo.world import StoryError, World, now_ms, operation
from cli.sample import by_short_name
from cli.validation import build_from
from cli.window import (
    Case,
    Wish,
    await_consent,
    make_request,
    receive_fields,
    record_operation,
    show_request,
)
from ledger.files import replace_file
from ledger.suite import SHA256_ED25519
from licenses.identifiers import LicenseIdentifier
from licenses.issuance import HolderOffer, license_randomness, prepare_license
from licenses.models import AccreditIssuer, DefineType
from licenses.use import Item
from licenses.verdicts import ExitCode
from licenses.verification import Question
from licenses.verifier import Verifier

ANSWER_S = 15.0
HOLDERS_NODE = "beijing"
"""The holder lives in Beijing: sessions of one-time codes are opened there."""


def license_issued(world: World) -> list[str]:
    """Define the type, accredit the issuer, and issue a license bound to a key of the holder's wallet."""
    define = operation("licenses.type.define", build_from(DefineType, content.license_type()))
    accredit = operation(
        "licenses.issuer.accredit", build_from(AccreditIssuer, content.accreditation(now_ms()))
    )
    world.commit("residence-ministry", [define, accredit])
    wallet = WalletProcess(
        world.directory / "wallet",
        world.network.node(HOLDERS_NODE).api,
        world.directory / "policy.txt",
    )
    world.wallet = wallet
    identifier = str(
        LicenseIdentifier.build(content.LICENSE_TYPE, content.ISSUER.uscc, content.SERIAL)
    )
    issued = prepare_license(
        SHA256_ED25519,
        world.signer("beijing-issuer"),
        chain_id=world.network.chain_id,
        issuer=content.ISSUER.uscc,
        license_type=content.LICENSE_TYPE,
        identifier=identifier,
        fields=content.HOLDER_FIELDS,
        offer=HolderOffer.parse(wallet.offer(content.ISSUER.uscc)),
        valid_from_ms=now_ms() - content.DAY_MS,
        valid_to_ms=now_ms() + 365 * content.DAY_MS,
        now_ms=now_ms(),
        randomness=os.urandom(license_randomness(len(content.HOLDER_FIELDS))),
    )
    result = world.commit("beijing-issuer", [operation("licenses.license.issue", issued.body)])
    facts = world.facts
    facts.package = world.directory / "permit.json"
    replace_file(facts.package, issued.package().encode())
    facts.handle = wallet.add(facts.package)
    facts.license_transaction = result.id
    wallet.start()
    return [
        f"residence permit {identifier}",
        f"on the ledger only its handle {facts.handle}; the document is in the holder's wallet",
        world.shown_by(result.id, "hebei"),
    ]


def request_shown(world: World) -> list[str]:
    """The holder reads a one-time code out at the window in Tianjin; the wallet shows who asks for what."""
    case = ask(world, "tianjin", content.MATTER, content.LISTED_FIELDS)
    world.facts.case = case
    assert world.wallet is not None, "set up when the license was issued"
    event = world.wallet.event("request", case.request_id.hex())
    return [
        f"asked by {content.CENTRE.name}, for {', '.join(event['asks_for'])}",
        f"purpose: {event['purpose']}; the holder consents on the phone",
        "the matter that lists these fields: "
        + world.shown_by(world.facts.matter_transaction, "tianjin"),
    ]


def use_recorded(world: World) -> list[str]:
    """The centre records the use; every validator checks it against the directory first."""
    case = _case(world)
    result = world.commit("tianjin-recorder", [record_operation(case)])
    world.facts.use_transaction = result.id
    view = world.client("national-auditor").transaction(result.id, wait_s=ANSWER_S)
    world.facts.use_time_ms = view.time_ms or now_ms()
    return [
        f"use {case.use_id.hex()}: a Beijing license at a Tianjin window",
        world.shown_by(result.id, "beijing"),
    ]


def holder_notified(world: World) -> list[str]:
    """The wallet finds the use on the ledger by itself, and proves it under its own policy."""
    assert world.wallet is not None, "set up when the license was issued"
    event = world.wallet.event("use", _case(world).use_id.hex())
    if event["transaction"] != world.facts.use_transaction:
        raise StoryError("the wallet was told of another transaction")
    return [
        f"the wallet tells its holder: used at {event['time']}, block {event['height']}",
        world.shown_by(world.facts.use_transaction, "hebei"),
    ]


def fields_disclosed(world: World) -> list[str]:
    """Only now the wallet discloses: the listed fields, sealed to the centre."""
    disclosed = receive(world, _case(world))
    if sorted(disclosed) != sorted(content.LISTED_FIELDS):
        raise StoryError(f"disclosed {sorted(disclosed)}")
    return [
        "disclosed, after the use was recorded: "
        + ", ".join(f"{name} = {value}" for name, value in disclosed.items()),
        world.shown_by(world.facts.use_transaction, "national"),
    ]


def verified_online(world: World) -> list[str]:
    """Verify the permit against what the query node answers; the node is not trusted."""
    bundle = world.client("national-auditor", "xiongan").license_evidence(world.facts.handle)
    report = Verifier(SHA256_ED25519, world.policy).verify(
        Question(
            now_ms=now_ms(),
            audience=content.CENTRE.uscc,
            nonce=_case(world).use_id.hex(),
        ),
        credential=world.facts.presentation,
        bundle=bundle,
    )
    if report.exit_code is not ExitCode.VALID:
        raise StoryError(f"not valid: {report.to_json()}")
    passed = [one.check for one in report.verdicts if one.outcome.value == "passed"]
    return [
        f"valid; checks passed: {', '.join(passed)}",
        world.shown_by(world.facts.license_transaction, "xiongan"),
    ]


def verified_offline(world: World) -> list[str]:
    """Verify again from files alone, in a process that may open no socket."""
    directory = world.directory
    bundle = world.client("national-auditor", "xiongan").license_evidence(world.facts.handle)
    replace_file(directory / "permit.bundle", bundle)
    replace_file(directory / "presentation.txt", world.facts.presentation.encode())
    report = world.mulu(
        "license",
        "verify",
        str(directory / "presentation.txt"),
        *("--offline", "--bundle", str(directory / "permit.bundle")),
        *("--policy", str(directory / "policy.txt")),
        *("--audience", content.CENTRE.uscc, "--nonce", _case(world).use_id.hex()),
    )
    return [
        f"{report['result']} from three files: presentation, bundle of {len(bundle)} bytes, policy",
        world.shown_by(world.facts.license_transaction, "tianjin"),
    ]


def ask(world: World, window: str, matter: str, fields: Sequence[str]) -> Case:
    """Ask the holder for fields at a window (`tianjin` or `hebei`); return the case with the consent."""
    assert world.wallet is not None, "set up when the license was issued"
    centre = by_short_name(f"{window}-centre")
    sealing = world.sealing_key(f"{window}-centre")
    wish = Wish(
        organisation=centre.uscc,
        sealing_key=sealing.public_key,
        matter=matter,
        division=centre.division,
        items=(Item(content.LICENSE_TYPE, tuple(sorted(fields))),),
        window="7",
        case_number="2026-YSQ-0042",
        purpose="申请公开信息 to apply for information on the district's service halls",
        place=f"{centre.name}, hall 2",
    )
    operator = f"{window}-operator"
    envelope = make_request(world.signer(operator), world.network.chain_id, wish)
    sessions = world.client(operator, HOLDERS_NODE)
    case = show_request(sessions, world.wallet.code(), envelope)
    return await_consent(sessions, case, sealing, timeout_s=ANSWER_S)


def receive(world: World, case: Case) -> dict[str, object]:
    """Receive what the wallet discloses for a recorded use; keeps the presentation."""
    disclosed = receive_fields(
        world.client("tianjin-operator"),
        world.client("tianjin-operator", HOLDERS_NODE),
        case,
        world.sealing_key("tianjin-centre"),
        world.policy,
        timeout_s=ANSWER_S,
    )
    world.facts.presentation = disclosed[0].presentation
    return dict(disclosed[0].fields)


def _case(world: World) -> Case:
    case = world.facts.case
    assert case is not None, "asked before"
    return case
