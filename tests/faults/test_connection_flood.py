"""Ten thousand connections against one validator: it keeps its links, its descriptors and its memory, and commits."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import itertools
import os
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node.certificates import create_certificate_authority, issue_node_certificate
from node.config import load_config
from node.listener import MAX_UNFINISHED
from node.peers import MAX_GREETING
from tests.faults.network import FaultyNetwork, Load
from tests.node.processes import eventually
from tests.node.raw_peer import UPGRADE, client_context

ROW = "oversize claims, random bytes, cut frames, deep nesting, slow-loris, unfinished handshakes"
ATTEMPTS = 10_000
AT_ONCE = 200
"""Begun together; those of the wave before are still open, so twice as many are."""

VICTIM = "beijing"
MEMBER = "hebei"
MAX_MORE_DESCRIPTORS = MAX_UNFINISHED + 2 * MAX_GREETING + 64
"""What the victim may hold beside what it held before: unfinished handshakes, those greeting, its database's tables."""


def descriptors(process_id: int) -> int:
    return len(os.listdir(f"/proc/{process_id}/fd"))


def resident_bytes(process_id: int) -> int:
    pages = int(Path(f"/proc/{process_id}/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def attempt(
    port: int, kind: str, contexts: dict[str, ssl.SSLContext]
) -> asyncio.StreamWriter:
    """Begin a connection of a kind and leave it open."""
    context = contexts.get(kind)
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    if kind == "cut record":
        writer.write(b"\x16\x03\x01\x02\x00\x01")
    elif kind == "not TLS":
        writer.write(UPGRADE)
    return writer


KINDS = ("silent", "cut record", "not TLS", "no certificate", "foreign certificate", "member")


def contexts_of(network: FaultyNetwork, directory: Path) -> dict[str, ssl.SSLContext]:
    now = datetime.datetime.fromtimestamp(time.time(), tz=datetime.UTC)
    foreign = issue_node_certificate(
        create_certificate_authority(f"{MEMBER}-ca", now=now), MEMBER, now=now
    )
    certificate, key = directory / "foreign.crt", directory / "foreign.pem"
    certificate.write_bytes(foreign.certificate_pem)
    key.write_bytes(foreign.key_pem)
    keys = network.home(MEMBER) / "keys"
    return {
        "no certificate": client_context(),
        "foreign certificate": client_context(certificate, key),
        "member": client_context(keys / "tls.crt", keys / "tls.pem"),
    }


async def flood(
    port: int,
    contexts: dict[str, ssl.SSLContext],
    injected: Counter[str],
    watch: Callable[[], None],
) -> None:
    kinds = itertools.cycle(KINDS)
    before: list[asyncio.StreamWriter] = []
    for _ in range(ATTEMPTS // AT_ONCE):
        wave = list(itertools.islice(kinds, AT_ONCE))
        begun = await asyncio.gather(
            *(asyncio.wait_for(attempt(port, kind, contexts), 20) for kind in wave),
            return_exceptions=True,
        )
        injected["connection attempt"] += len(begun)
        watch()
        for writer in before:
            writer.transport.abort()
        before = [one for one in begun if isinstance(one, asyncio.StreamWriter)]
    for writer in before:
        writer.transport.abort()


def links_lost(network: FaultyNetwork) -> int:
    """Return how often a node has written that a link went down."""
    logs = (network.home(name) / "node.log" for name in network.validators)
    return sum(log.read_text("utf-8").count("link down") for log in logs)


@contextlib.contextmanager
def progress(load: Load) -> Iterator[None]:
    """Transactions are acknowledged inside."""
    seen = len(load.acknowledged)
    yield
    assert len(load.acknowledged) > seen + 20, "nothing was committed meanwhile"


@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.row(ROW)
def test_ten_thousand_connections_hold_nobody_up(
    network: FaultyNetwork, injected: Counter[str], tmp_path: Path
) -> None:
    process_id = network.running[VICTIM].pid
    port = load_config(network.home(VICTIM) / "config.toml").peers.listen_port
    contexts = contexts_of(network, tmp_path)
    with network.load() as load:
        eventually(lambda: len(load.acknowledged) > 20)
        held, memory, lost = (
            descriptors(process_id),
            resident_bytes(process_id),
            links_lost(network),
        )
        most, largest = held, memory

        def watch() -> None:
            nonlocal most, largest
            most = max(most, descriptors(process_id))
            largest = max(largest, resident_bytes(process_id))

        with progress(load):
            asyncio.run(flood(port, contexts, injected, watch))
        assert most - held <= MAX_MORE_DESCRIPTORS, f"{most} descriptors, {held} before"
        assert largest - memory < 200 * 1024 * 1024, f"{largest >> 20} MiB, {memory >> 20} before"
        assert links_lost(network) == lost, "no link of consensus went down"
    network.check_running(load)
