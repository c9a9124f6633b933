"""What a query node answers: status with proof, alone and in arrays, traces, searches; samples are verified."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlsplit

from cli.bench.asking import Answers, Asking, ask_all
from cli.bench.loads import issue_licenses, system_operation
from cli.bench.machine import signature_check_us
from cli.bench.network import Progress, query_place
from cli.bench.sender import quantile
from cli.bench.setting import register_matter
from cli.bench.usage import cpu_s
from cli.demo import content
from cli.demo.world import StoryError, World
from ledger.bundle import Bundle, StateEvidence
from ledger.light import TrustedView
from ledger.suite import SHA256_ED25519
from licenses.models import License, license_key
from node.auth import make_token
from node.long_reads import MAX_READS_OF_ONE

KEYS_AT_ONCE: Final = 50
"""License handles in one request of the array form."""

_KEEP_EVERY: Final = 50
_MOST_VERIFIED: Final = 50


@dataclass(frozen=True, slots=True)
class QueryOptions:
    """What is asked of a run; `clients` are processes that ask, each over `connections`. Times are in seconds."""

    seconds: float = 5.0
    warm_up_s: float = 1.0
    clients: int = 1
    connections: int = 16
    licenses: int = 1_000
    entries: int = 2_000


@dataclass(frozen=True, slots=True)
class Question:
    """Paths that are asked in turn, how many answers each brings, and the check of an answer (path, body).

    `at_once` is how many a node answers one organisation at the same time, where it refuses more.
    """

    name: str
    paths: tuple[str, ...]
    answers: int
    check: Callable[[str, bytes], None]
    at_once: int | None = None


def measure_queries(world: World, options: QueryOptions, progress: Progress) -> dict[str, Any]:
    """Put licenses and entries on a new network's ledger, ask its query node, and return figures by question."""
    return ask(world, options, populate(world, options, progress), progress)


def ask(
    world: World, options: QueryOptions, handles: Sequence[str], progress: Progress
) -> dict[str, Any]:
    """Ask the query node of a network that has these licenses, and return figures by question."""
    figures: dict[str, Any] = {
        "clients": options.clients,
        "connections": options.connections * options.clients,
        "licenses": options.licenses,
        "entries": options.entries,
    }
    for question in _questions(world, handles, options.entries):
        progress(f"asking for {question.name}")
        figures[question.name] = _measure(world, question, options)
    return figures


def populate(world: World, options: QueryOptions, progress: Progress) -> list[str]:
    """Put licenses and entries on a new network's ledger; return the licenses' handles in hex."""
    register_matter(world, progress)
    progress(f"publishing {options.entries} entries")
    for start in range(0, options.entries, 100):
        stop = min(options.entries, start + 100)
        world.commit("tongzhou-editor", [system_operation(number) for number in range(start, stop)])
    licenses = issue_licenses(world, options.licenses, progress)
    # What was committed last is proven at the query node before the first question.
    key = license_key(licenses[-1].handle)
    client = world.client("national-auditor")
    deadline = time.monotonic() + 30
    while client.state(key)["value"] is None:
        if time.monotonic() > deadline:
            raise StoryError("the query node does not prove what is committed")
    return [one.handle.hex() for one in licenses]


def _questions(world: World, handles: Sequence[str], entries: int) -> tuple[Question, ...]:
    keys = [license_key(bytes.fromhex(handle)) for handle in handles]
    arrays = [keys[start : start + KEYS_AT_ONCE] for start in range(0, len(keys), KEYS_AT_ONCE)]

    def bundled(_: str, body: bytes) -> None:
        bundle = Bundle.decode(SHA256_ED25519, body)
        for state in TrustedView(SHA256_ED25519, world.policy).verify_bundle(bundle).states:
            _check_license(state.key, state.value)

    def single(path: str, body: bytes) -> None:
        evidence = StateEvidence.decode(base64.b64decode(json.loads(body)["evidence"]))
        state = TrustedView(SHA256_ED25519, world.policy).verify_state(evidence)
        if quote(state.key, safe="") not in path:
            raise StoryError(f"{path} was answered with {state.key}")
        _check_license(state.key, state.value)

    return (
        Question(
            "status", tuple(f"/v1/state?key={quote(key, safe='')}" for key in keys), 1, single
        ),
        Question(
            "status_in_arrays",
            tuple(
                "/v1/evidence/state?" + _query(keys) for keys in arrays if len(keys) == KEYS_AT_ONCE
            ),
            KEYS_AT_ONCE,
            bundled,
        ),
        Question(
            "trace",
            (f"/v1/directory/matter/{content.MATTER}/trace?direction=basis",),
            1,
            _trace,
            at_once=MAX_READS_OF_ONE,
        ),
        Question(
            "search",
            tuple(f"/v1/directory/system?limit=20&q=System+{number}" for number in range(entries)),
            1,
            _search,
        ),
    )


def _query(keys: Sequence[str]) -> str:
    return "&".join(f"key={quote(key, safe='')}" for key in keys)


def _check_license(key: str, value: Any) -> None:
    handle = bytes.fromhex(key.rpartition("/")[2])
    if value is None or License.from_value(handle, value).status != "01":
        raise StoryError(f"{key} should be a valid license")


def _trace(path: str, body: bytes) -> None:
    found = json.loads(body)
    children = {child["collection"] for child in found["children"]}
    if found["id"] != content.MATTER or children != {"responsibility", "instrument"}:
        raise StoryError(f"{path} does not show what the matter rests on")


def _search(path: str, body: bytes) -> None:
    number = path.rpartition("+")[2]
    if not any(number in item["id"] for item in json.loads(body)["items"]):
        raise StoryError(f"{path} found nothing")


def _measure(world: World, question: Question, options: QueryOptions) -> dict[str, Any]:
    place = query_place(world)
    pid = world.processes[place.name].pid
    askings = [_asking(world, question, options, number) for number in range(options.clients)]
    check_us, before_s = signature_check_us(), cpu_s(pid)
    answers = ask_all(askings)
    node_s = cpu_s(pid) - before_s
    check_us = (check_us + signature_check_us()) / 2
    verified = _verify(question, askings, answers)
    latencies = [one for part in answers for one in part.latencies_s]
    # The node's CPU covers the warm-up too, at the same rate.
    whole = max(1.0, len(latencies) * (1 + options.warm_up_s / options.seconds))
    per_s = len(latencies) / options.seconds
    return {
        "answers_per_s": round(per_s * question.answers, 1),
        "requests_per_s": round(per_s, 1),
        "latency_p50_ms": round(quantile(latencies, 0.50) * 1000, 2),
        "latency_p99_ms": round(quantile(latencies, 0.99) * 1000, 2),
        "query_node_cpu_us_per_answer": round(node_s / whole / question.answers * 1e6, 1),
        "loader_cpu_us_per_answer": round(
            sum(part.cpu_s for part in answers) / whole / question.answers * 1e6, 1
        ),
        "signature_check_us": round(check_us, 1),
        # Of what one core, on which the node answers, could verify of signatures.
        "share_of_signature_limit": round(per_s * question.answers * check_us / 1e6, 3),
        "refused": sum(part.refused for part in answers),
        "verified": verified,
    }


def _asking(world: World, question: Question, options: QueryOptions, number: int) -> Asking:
    address = urlsplit(query_place(world).api)
    assert address.hostname is not None and address.port is not None, "as configured"
    token = make_token(world.signer("national-auditor"), world.network.chain_id, int(time.time()))
    head = f"Host: {address.netloc}\r\nAuthorization: Bearer {token}\r\n\r\n"
    connections = options.connections
    if question.at_once is not None:
        connections = max(1, min(connections, question.at_once // options.clients))
    # Each client begins elsewhere, so that they do not ask the same at the same time.
    turn = number * len(question.paths) // options.clients
    paths = question.paths[turn:] + question.paths[:turn]
    requests = tuple(f"GET {path} HTTP/1.1\r\n{head}".encode("ascii") for path in paths)
    return Asking(
        address.hostname,
        address.port,
        requests,
        connections,
        options.warm_up_s,
        options.seconds,
        _KEEP_EVERY,
    )


def _verify(question: Question, askings: Sequence[Asking], answers: Sequence[Answers]) -> int:
    """Check some of the answers, and return how many.

    Raises:
        StoryError: one does not show what it should.
        LedgerError: a proof is false.
    """
    kept = [
        (asking.requests[number].split(b" ", 2)[1].decode("ascii"), body)
        for asking, part in zip(askings, answers, strict=True)
        for number, body in part.kept
    ]
    for path, body in kept[:_MOST_VERIFIED]:
        question.check(path, body)
    return len(kept[:_MOST_VERIFIED])
