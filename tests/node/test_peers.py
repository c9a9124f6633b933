"""Links: who may link, what travels, and what happens to those who break the rules. Real TLS over loopback."""

from __future__ import annotations

import asyncio
import datetime
import os
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError
from websockets.frames import Close, CloseCode

from ledger.codec import encode
from node.certificates import create_certificate_authority
from node.config import PeerAddress
from node.connections import told_reason
from node.errors import InvalidPeerMessage
from node.listener import MAX_UNFINISHED
from node.messages import (
    MAX_FRAME_BYTES,
    Blocks,
    CheckpointSignatures,
    ConsensusPayload,
    GetBlocks,
    GetCheckpoint,
    Hello,
    PeerMessage,
    Ping,
    Pong,
    Priority,
    ProvenCheckpoint,
    Status,
    Transactions,
    decode_message,
    transaction_frames,
)
from node.peers import MAX_GREETING, PeerNetwork
from node.refusals import Refusal
from tests.node.links import CHAIN, Place, Recorder, running, two_nodes, until, utc_now

FLOOD = 2 * MAX_UNFINISHED
"""Sockets that say nothing, and as many that begin a handshake."""


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def unverified_context() -> ssl.SSLContext:
    """Return the TLS context of a client that believes any server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def context_of(name: str, place: Place) -> ssl.SSLContext:
    """Return the TLS context of a client with a node's certificate and no node behind it."""
    place.node(name)
    context = unverified_context()
    context.load_cert_chain(place.directory / f"{name}.crt", place.directory / f"{name}.pem")
    return context


# --- messages ---------------------------------------------------------------------------------------

HEIGHTS = st.integers(0, 2**53)
MESSAGES: st.SearchStrategy[PeerMessage] = st.one_of(
    st.builds(ConsensusPayload, st.binary(max_size=100)),
    st.builds(Transactions, st.lists(st.binary(min_size=1, max_size=50), min_size=1).map(tuple)),
    st.builds(Status, HEIGHTS, HEIGHTS, st.none() | HEIGHTS),
    st.builds(GetBlocks, HEIGHTS, st.integers(1, 64)),
    st.builds(
        Blocks, HEIGHTS, st.lists(st.tuples(st.binary(), st.binary()), max_size=5).map(tuple)
    ),
    st.builds(CheckpointSignatures, HEIGHTS, st.binary()),
    st.builds(ProvenCheckpoint, HEIGHTS, st.binary()),
    st.just(GetCheckpoint()),
    st.builds(Ping, st.integers(1, 2**53)),
    st.builds(Pong, st.integers(1, 2**53)),
    st.builds(Hello, st.text(max_size=20), st.text(max_size=20), st.text(max_size=9), HEIGHTS),
)


@given(MESSAGES)
def test_every_message_decodes_to_itself(message: PeerMessage) -> None:
    assert decode_message(message.encode()) == message


@given(st.binary(max_size=300))
def test_random_bytes_are_refused_with_the_one_error(data: bytes) -> None:
    with suppress(InvalidPeerMessage):
        decode_message(data)


@pytest.mark.parametrize(
    "value",
    [
        (),
        ("unknown",),
        ("status", -1, 0, None),
        ("status", 2**60, 0, None),
        ("status", True, 0, None),
        ("status", 1, 0),
        ("status", 1, 0, -1),
        ("status", 1, 0, 2**53 + 1),
        ("status", 1, 0, True),
        ("get_blocks", 1, 0),
        ("get_blocks", 1, 65),
        ("transactions", ()),
        ("transactions", (b"",)),
        ("transactions", (b"x" * 60_001,)),
        ("transactions", ("text",)),
        ("transactions", (b"x",) * 4_097),
        ("blocks", 1, ((b"",),)),
        ("checkpoint", 1, b"x" * 16_385),
        ("consensus", "text"),
        ("ping", 0),
        ("pong", "1"),
        ("pong", 2**60),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_message_beyond_its_bounds_is_refused(value: Any) -> None:
    with pytest.raises(InvalidPeerMessage):
        decode_message(encode(value))


@given(st.lists(st.binary(min_size=1, max_size=60_000), max_size=40))
def test_transactions_are_split_into_frames_in_order(raws: list[bytes]) -> None:
    messages = [decode_message(frame) for frame in transaction_frames(raws)]
    sent = [raw for one in messages if isinstance(one, Transactions) for raw in one.transactions]
    assert sent == raws


# --- links ------------------------------------------------------------------------------------------


@asynccontextmanager
async def greeted(directory: Path, handler: Recorder) -> AsyncIterator[ClientConnection]:
    """Connect with beijing's certificate to a running node, which has said hello; ours is for the test to say."""
    place = Place(directory)
    tianjin = place.node("tianjin", handler)
    context = context_of("beijing", place)
    async with running(tianjin):
        url = f"wss://127.0.0.1:{tianjin.port}/"
        async with connect(url, ssl=context, proxy=None, compression=None) as connection:
            await connection.recv()
            yield connection


def test_two_nodes_that_dial_each_other_keep_one_link_and_talk_both_ways(tmp_path: Path) -> None:
    async def scenario() -> None:
        left, right = Recorder(), Recorder()
        async with two_nodes(Place(tmp_path), left, right) as (beijing, tianjin):
            await until(left, lambda: "tianjin" in beijing.links)
            await until(right, lambda: "beijing" in tianjin.links)
            assert beijing.send("tianjin", Status(7, 3).encode(), Priority.CONSENSUS)
            tianjin.broadcast(Transactions((b"t",)).encode(), Priority.TRANSACTIONS)
            await until(right, lambda: ("beijing", Status(7, 3)) in right.messages)
            await until(left, lambda: ("tianjin", Transactions((b"t",))) in left.messages)

    run(scenario)


def test_a_peer_that_sends_garbage_is_cut_off_for_a_while(tmp_path: Path) -> None:
    async def scenario() -> None:
        left, right = Recorder(), Recorder()
        async with two_nodes(Place(tmp_path), left, right) as (beijing, tianjin):
            await until(left, lambda: "tianjin" in beijing.links)
            beijing.send("tianjin", b"\xc1garbage", Priority.CONSENSUS)
            await until(right, lambda: right.down == ["beijing"])
            await until(left, lambda: left.down == ["tianjin"])
            assert right.messages == []
            await asyncio.sleep(0.6)  # long enough for a redial
            assert "beijing" not in tianjin.links

    run(scenario)


def test_who_is_cut_off_learns_why_and_both_ends_keep_it_for_the_diagnosis(tmp_path: Path) -> None:
    async def scenario() -> None:
        left, right = Recorder(), Recorder()
        right.refuse = True
        async with two_nodes(Place(tmp_path), left, right) as (beijing, tianjin):
            await until(left, lambda: "tianjin" in beijing.links)
            assert beijing.refusals == {}
            beijing.send("tianjin", Status(7, 3).encode(), Priority.CONSENSUS)
            await until(left, lambda: left.down == ["tianjin"])
            told = Refusal(is_ours=False, reason="refused by the test")
            assert beijing.refusals == {"tianjin": told}
            assert tianjin.refusals == {"beijing": replace(told, is_ours=True)}
            await asyncio.sleep(0.6)  # long enough for redials that say less
            assert beijing.refusals == {"tianjin": told}
            assert tianjin.refusals == {"beijing": replace(told, is_ours=True)}

    run(scenario)


STRANGERS = {
    "a foreign authority": "foreign",
    "another validator's name": "wrong-name",
    "an expired certificate": "expired",
    "another chain": "chain",
}


@pytest.mark.parametrize("case", STRANGERS.values(), ids=STRANGERS.keys())
def test_a_stranger_is_refused(tmp_path: Path, case: str) -> None:
    async def scenario() -> None:
        place, left, right = Place(tmp_path), Recorder(), Recorder()
        tianjin = place.node("tianjin", right)
        issuer, issued = place.jurisdictions.authority("beijing"), place.now
        if case == "foreign":
            issuer = create_certificate_authority("beijing-ca", now=utc_now())
        if case == "wrong-name":
            issuer = place.jurisdictions.authority("hebei")
        if case == "expired":
            issued = utc_now() - datetime.timedelta(days=60)
        async with running(tianjin):
            beijing = place.node(
                "beijing",
                left,
                peers={"tianjin": tianjin.port},
                issuer=issuer,
                now=issued,
                chain_id="another-chain" if case == "chain" else CHAIN,
            )
            async with running(beijing):
                await asyncio.sleep(0.8)  # several dials
                assert right.up == []
                assert left.up == []
            # Who has shown that it is beijing is named by whom it dialled; who has not is nobody.
            noted = {"beijing": True} if case == "chain" else {}
            assert {name: one.is_ours for name, one in tianjin.refusals.items()} == noted

    run(scenario)


def test_who_gives_up_before_it_says_hello_is_not_called_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        place, right = Place(tmp_path), Recorder()
        tianjin = place.node("tianjin", right)
        async with running(tianjin):
            for request in (b"", b"GET / HTTP/1.1\r\n\r\n"):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", tianjin.port, ssl=context_of("beijing", place), server_hostname=""
                )
                writer.write(request)
                writer.close()
                async with asyncio.timeout(5):
                    await reader.read()
            # One that comes later is served, so what came before has been dealt with.
            beijing = place.node("beijing", Recorder(), peers={"tianjin": tianjin.port})
            async with running(beijing):
                await until(right, lambda: right.up == ["beijing"])
            assert tianjin.refusals == {}

    run(scenario)


def test_who_answers_in_anothers_place_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        place, left, right = Place(tmp_path), Recorder(), Recorder()
        tianjin = place.node("tianjin", right)
        beijing = place.node("beijing", left)
        async with running(tianjin):
            address = PeerAddress(name="hebei", host="127.0.0.1", port=tianjin.port)
            async with asyncio.timeout(5):
                await beijing._dial(address)  # ends when the link does, or was refused
            assert left.up == []

    run(scenario)


@pytest.mark.parametrize(
    "hello",
    [
        Hello(CHAIN, "hebei", "validator", 0),
        Hello(CHAIN, "beijing", "king", 0),
        Hello(CHAIN, "beijing", "validator", 0, version=2),
        Hello("another-chain", "beijing", "validator", 0),
        Status(7, 3),
    ],
    ids=["another's name", "an unknown role", "another version", "another chain", "no hello"],
)
def test_a_hello_that_does_not_fit_ends_the_connection(
    tmp_path: Path, hello: Hello | Status
) -> None:
    async def scenario() -> None:
        right = Recorder()
        async with greeted(tmp_path, right) as connection:
            await connection.send(hello.encode())
            async with asyncio.timeout(5):
                await connection.wait_closed()
        assert right.up == []

    run(scenario)


def test_a_frame_beyond_the_bound_ends_its_link(tmp_path: Path) -> None:
    async def scenario() -> None:
        right = Recorder()
        async with greeted(tmp_path, right) as connection:
            await connection.send(Hello(CHAIN, "beijing", "validator", 0).encode())
            await until(right, lambda: right.up == ["beijing"])
            with suppress(ConnectionClosed):
                await connection.send(bytes(MAX_FRAME_BYTES + 1))
            await until(right, lambda: right.down == ["beijing"])
            await connection.wait_closed()
            assert connection.close_code == CloseCode.MESSAGE_TOO_BIG

    run(scenario)


def test_other_nodes_never_take_the_validators_slots(tmp_path: Path) -> None:
    """Of five slots four are the validators': one other node is linked, a second is not, a validator is."""

    async def scenario() -> None:
        place, right = Place(tmp_path), Recorder()
        tianjin = place.node("tianjin", right, max_links=5)

        def other(name: str) -> PeerNetwork:
            return place.node(name, issuer=place.jurisdictions.authority("beijing"))

        async with running(tianjin), asyncio.TaskGroup() as tasks:
            address = PeerAddress(name="tianjin", host="127.0.0.1", port=tianjin.port)
            first = tasks.create_task(other("first")._dial(address))
            await until(right, lambda: right.up == ["first"])
            async with asyncio.timeout(5):
                await other("second")._dial(address)  # ends when it is refused
            validator = tasks.create_task(other("beijing")._dial(address))
            await until(right, lambda: right.up == ["first", "beijing"])
            first.cancel()
            validator.cancel()

    run(scenario)


def test_without_a_certificate_there_is_no_link(tmp_path: Path) -> None:
    async def scenario() -> None:
        right = Recorder()
        tianjin = Place(tmp_path).node("tianjin", right)
        context = unverified_context()
        async with running(tianjin):
            with pytest.raises(Exception, match=r"certificate required|did not receive|closed|EOF"):
                async with connect(
                    f"wss://127.0.0.1:{tianjin.port}/", ssl=context, proxy=None
                ) as connection:
                    await connection.recv()
            assert right.up == []

    run(scenario)


def test_a_member_whose_authority_is_revoked_is_cut_off_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        left, right = Recorder(), Recorder()
        place = Place(tmp_path)
        async with two_nodes(place, left, right) as (_, tianjin):
            await until(right, lambda: "beijing" in tianjin.links)
            tianjin.update_membership(
                place.jurisdictions.membership("tianjin", "hebei", "national")
            )
            await until(right, lambda: "beijing" not in tianjin.links)

    run(scenario)


def test_consensus_frames_overtake_transactions_that_wait(tmp_path: Path) -> None:
    async def scenario() -> None:
        left, right = Recorder(), Recorder()
        async with two_nodes(Place(tmp_path), left, right) as (beijing, _):
            await until(left, lambda: "tianjin" in beijing.links)
            for _ in range(20):
                beijing.send(
                    "tianjin", Transactions((b"t" * 60_000,)).encode(), Priority.TRANSACTIONS
                )
            beijing.send("tianjin", ConsensusPayload(b"vote").encode(), Priority.CONSENSUS)
            await until(right, lambda: len(right.messages) == 21)
            kinds = [type(message) for _, message in right.messages]
            assert kinds.index(ConsensusPayload) == 0

    run(scenario)


def test_frames_for_a_slow_peer_are_bounded(tmp_path: Path) -> None:
    async def scenario() -> None:
        left, right = Recorder(), Recorder()
        async with two_nodes(Place(tmp_path), left, right) as (beijing, _):
            await until(left, lambda: "tianjin" in beijing.links)
            frame = Transactions((b"t" * 60_000,) * 16).encode()
            taken = [beijing.send("tianjin", frame, Priority.TRANSACTIONS) for _ in range(40)]
            assert not all(taken)
            assert sum(taken) * len(frame) <= 8 * 1024 * 1024
            assert "tianjin" in beijing.links

    run(scenario)


def test_hundreds_of_unfinished_handshakes_keep_no_validator_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        place, left, right = Place(tmp_path), Recorder(), Recorder()
        tianjin = place.node("tianjin", right)
        async with running(tianjin):
            before = len(os.listdir("/proc/self/fd"))
            silent = [
                await asyncio.open_connection("127.0.0.1", tianjin.port) for _ in range(2 * FLOOD)
            ]
            for _, writer in silent[::2]:
                writer.write(b"\x16\x03\x01\x02")  # the beginning of a TLS record, and no more
            beijing = place.node("beijing", left, peers={"tianjin": tianjin.port})
            async with running(beijing):
                await until(right, lambda: "beijing" in tianjin.links)
                # Beside our own ends, the flooded node holds no more than its bound.
                held = len(os.listdir("/proc/self/fd")) - before - len(silent)
                assert held <= MAX_UNFINISHED + 16
                beijing.send("tianjin", Status(7, 3).encode(), Priority.CONSENSUS)
                await until(right, lambda: ("beijing", Status(7, 3)) in right.messages)
            for _, writer in silent:
                writer.transport.abort()

    run(scenario)


def test_a_member_that_never_says_hello_keeps_only_itself_out(tmp_path: Path) -> None:
    async def scenario() -> None:
        place, left, right = Place(tmp_path), Recorder(), Recorder()
        tianjin = place.node("tianjin", right)
        context = context_of("hebei", place)  # hebei opens connections and stays silent
        async with running(tianjin):
            silent = [
                await asyncio.open_connection("127.0.0.1", tianjin.port, ssl=context)
                for _ in range(80)
            ]
            beijing = place.node("beijing", left, peers={"tianjin": tianjin.port})
            async with running(beijing):
                await until(right, lambda: "beijing" in tianjin.links)
            ended = [asyncio.create_task(reader.read()) for reader, _ in silent]
            done, waiting = await asyncio.wait(ended, timeout=2)
            assert len(waiting) <= MAX_GREETING
            for task in done:
                assert task.exception() is None or isinstance(task.exception(), OSError)
            for _, writer in silent:
                writer.transport.abort()
            for task in waiting:
                task.cancel()

    run(scenario)


def test_of_who_has_gone_without_a_hello_nothing_is_kept(tmp_path: Path) -> None:
    async def scenario() -> None:
        place = Place(tmp_path)
        context = context_of("beijing", place)
        tianjin = place.node("tianjin")
        async with running(tianjin):
            _, writer = await asyncio.open_connection("127.0.0.1", tianjin.port, ssl=context)
            async with asyncio.timeout(5):
                while "beijing" not in tianjin._greeting:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                writer.transport.abort()
                while tianjin._greeting:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)

    run(scenario)


def test_what_a_peer_says_when_it_refuses_us_moves_no_terminal() -> None:
    told = Close(CloseCode.POLICY_VIOLATION, "no\x1b[2J\nnever")
    assert told_reason(ConnectionClosedError(told, None)) == "no?[2J?never"
    other = Close(CloseCode.NORMAL_CLOSURE, "another link stays")
    assert told_reason(ConnectionClosedError(other, None)) is None
