"""What a member may do to a link at the level of frames: it loses the link, and nobody else notices. Real TLS."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from random import Random

import pytest
from websockets.frames import Frame, Opcode

from ledger.codec import encode
from node.connections import MAX_UNREAD_BYTES
from node.messages import (
    MAX_FRAME_BYTES,
    Blocks,
    CheckpointSignatures,
    ConsensusPayload,
    GetBlocks,
    Hello,
    ProvenCheckpoint,
    Status,
    Transactions,
)
from tests.attack.sloppy import ODDITIES, pack
from tests.node.links import CHAIN, until
from tests.node.raw_peer import frame, raw_peer
from tests.node.scene import HELLO, Scene, on_a_scene

ROW = "oversize claims, random bytes, cut frames, deep nesting, slow-loris, unfinished handshakes"
MIB = 1024 * 1024
STATUS = Status(5, 5).encode()

BROKEN: dict[str, bytes] = {
    "a text frame": frame(b"hello", Opcode.TEXT),
    "a text frame that is no UTF-8": frame(b"\xff\xfe", Opcode.TEXT),
    "a text frame with a message": frame(b"\x91\xa5hello", Opcode.TEXT),
    "an unknown opcode": frame(STATUS, 3),
    "an unknown control opcode": frame(b"", 11),
    "a reserved bit": frame(STATUS, reserved=4),
    "an unmasked frame": frame(STATUS, masked=False),
    "a fragmented ping": frame(b"", Opcode.PING, fin=False),
    "a long ping": frame(b"x" * 126, Opcode.PING),
    "a close with a bad code": frame(b"\x00\x01", Opcode.CLOSE),
    "a close of one byte": frame(b"\x03", Opcode.CLOSE),
    "a message in two fragments": frame(STATUS[:3], fin=False) + frame(STATUS[3:], Opcode.CONT),
    "a continuation of nothing": frame(STATUS, Opcode.CONT),
    "a fragment that is never continued": frame(STATUS[:3], fin=False),
    "a claim of one byte too many": frame(b"", claim=MAX_FRAME_BYTES + 1),
    "a claim of 2^63 - 1 bytes": frame(b"", claim=2**63 - 1),
    "a claim of 2^64 - 1 bytes": frame(b"", claim=2**64 - 1),
    "HTTP again": b"GET / HTTP/1.1\r\n\r\n",
    "a TLS record inside TLS": b"\x16\x03\x01\x02\x00\x01",
    "an empty message": frame(b""),
    "an empty array": frame(encode(())),
    "an unknown kind": frame(encode(("surprise", 1))),
    "a kind that is no string": frame(encode((7, 1))),
    "a second hello": frame(HELLO.encode()),
    "a field too many": frame(encode(("status", 5, 5, None, 5))),
    "a negative height": frame(encode(("status", -1, 0, None))),
    "a height beyond all bounds": frame(encode(("status", 2**63 - 1, 0, None))),
    "a count of none": frame(encode(("get_blocks", 1, 0))),
    "a count of 2^31": frame(encode(("get_blocks", 1, 2**31))),
    "a long map with its largest key first": frame(
        pack({f"{number % 100_000:06d}": 1 for number in range(99_999, 199_999)})
    ),
    "millions of empty maps": frame(b"\x92\xa9consensus\xdd\x00\x40\x00\x00" + b"\x80" * 2**22),
}
BROKEN |= {
    f"{odd!r} in a message": frame(pack(("status", odd, 0, None))) for odd in ODDITIES if odd.data
}


@pytest.mark.row(ROW)
def test_a_frame_that_no_correct_node_sends_ends_the_link(tmp_path: Path) -> None:
    async def test(scene: Scene) -> None:
        for what, data in BROKEN.items():
            async with scene.attacker() as peer:
                await peer.write(data)
                assert await scene.cut_off(peer), what
            assert not [one for name, one in scene.heard.messages if name == "hebei"], what

    on_a_scene(tmp_path, test)


@pytest.mark.row(ROW)
@pytest.mark.parametrize(
    "what", ["a claim of one byte too many", "a message in two fragments", "an unknown kind"]
)
def test_who_breaks_the_protocol_is_not_let_in_again_at_once(tmp_path: Path, what: str) -> None:
    async def test(scene: Scene) -> None:
        async with scene.attacker() as peer:
            await peer.write(BROKEN[what])
            assert await scene.cut_off(peer)
        async with raw_peer(scene.tianjin.port, scene.context) as peer:
            assert await peer.ended(), "cut off for a while"

    on_a_scene(tmp_path, test)


BEFORE_HELLO: dict[str, bytes] = {
    "a message before hello": frame(STATUS),
    "a hello beyond its bound": frame(Hello(CHAIN, "hebei", "validator" + "r" * 1_024, 1).encode()),
    "another name": frame(Hello(CHAIN, "national", "validator", 1).encode()),
    "another chain": frame(Hello("other", "hebei", "validator", 1).encode()),
    "another version": frame(Hello(CHAIN, "hebei", "validator", 1, version=2).encode()),
    "an unknown role": frame(Hello(CHAIN, "hebei", "king", 1).encode()),
    "8 MiB instead of a hello": frame(b"\xc6\x00\x7f\xff\xf0" + b"x" * (MAX_FRAME_BYTES - 16)),
    "a claim of 4 GiB": frame(b"", claim=2**32),
    "a fragment of a hello": frame(HELLO.encode()[:9], fin=False),
}


@pytest.mark.row(ROW)
@pytest.mark.parametrize("data", BEFORE_HELLO.values(), ids=BEFORE_HELLO)
def test_who_does_not_say_hello_gets_no_link(tmp_path: Path, data: bytes) -> None:
    async def test(scene: Scene) -> None:
        async with scene.attacker(greet=False) as peer:
            await peer.write(data)
            assert await peer.ended()
        assert "hebei" not in scene.heard.up

    on_a_scene(tmp_path, test)


@pytest.mark.row(ROW)
@pytest.mark.parametrize("greet", [False, True], ids=["before hello", "after hello"])
def test_a_frame_that_is_cut_ends_with_its_connection(tmp_path: Path, greet: bool) -> None:
    async def test(scene: Scene) -> None:
        whole = frame(Transactions((b"x" * 1_000,)).encode() if greet else HELLO.encode())
        for cut in range(1, min(len(whole), 64)):
            async with scene.attacker(greet=greet) as peer:
                await peer.write(whole[:cut])
            assert not [one for name, one in scene.heard.messages if name == "hebei"]
        await until(scene.heard, lambda: "hebei" not in scene.tianjin.links)

    on_a_scene(tmp_path, test)


FLOODS: dict[str, bytes] = {
    "empty fragments": frame(b"", fin=False) + frame(b"", Opcode.CONT, fin=False) * 300_000,
    "fragments of one byte": frame(b"x", fin=False) + frame(b"x", Opcode.CONT, fin=False) * 300_000,
    "pongs that nobody asked for": frame(b"x" * 20, Opcode.PONG) * 200_000,
}


@pytest.mark.row(ROW)
@pytest.mark.parametrize("what", FLOODS)
def test_a_flood_of_small_frames_leaves_nothing_behind(tmp_path: Path, what: str) -> None:
    async def test(scene: Scene) -> None:
        async with scene.attacker() as peer:
            await peer.write(FLOODS[what])
            await peer.write(frame(STATUS))
            gone = ("hebei", Status(5, 5))
            await until(
                scene.heard,
                lambda: "hebei" not in scene.tianjin.links or gone in scene.heard.messages,
                timeout_s=60.0,
            )
            kept = sum(type(one) is Frame for one in gc.get_objects())
            assert kept < 1_000, "frames of a message that never ends"

    on_a_scene(tmp_path, test)


@pytest.mark.row(ROW)
def test_who_does_not_read_the_answers_to_its_pings_loses_the_link(tmp_path: Path) -> None:
    async def test(scene: Scene) -> None:
        pings = frame(b"x" * 125, Opcode.PING) * 1_000
        most = 0
        async with scene.attacker() as peer:
            peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
            transport = scene.tianjin.links["hebei"]._connection.transport
            for _ in range(400):
                await asyncio.wait_for(peer.write(pings), 10)
                most = max(most, transport.get_write_buffer_size())
                if "hebei" not in scene.tianjin.links:
                    break
            else:
                raise AssertionError(f"{most} bytes of answers wait to be read")
        assert MAX_UNREAD_BYTES / 2 < most < MAX_UNREAD_BYTES + MIB

    on_a_scene(tmp_path, test)


VALID = (
    STATUS,
    GetBlocks(1, 4).encode(),
    Blocks(1, ((b"block", b"commit"),)).encode(),
    Transactions((b"a", b"b" * 100)).encode(),
    ConsensusPayload(b"\x92\x02\x90").encode(),
    CheckpointSignatures(3, b"note").encode(),
    ProvenCheckpoint(3, b"note").encode(),
)


def damage(random: Random, whole: bytes) -> bytes:
    """Return a frame with one to three bytes changed, dropped or added."""
    data = bytearray(whole)
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(data))
        match random.choice(("change", "drop", "add")):
            case "change":
                data[at] ^= random.randint(1, 255)
            case "drop" if len(data) > 1:
                del data[at]
            case _:
                data.insert(at, random.randint(0, 255))
    return bytes(data)


@pytest.mark.row(ROW)
@pytest.mark.parametrize("seed", range(4))
def test_valid_frames_with_any_damage_are_ignored_or_end_the_link(
    tmp_path: Path, seed: int
) -> None:
    random = Random(seed)
    damaged = [damage(random, frame(random.choice(VALID))) for _ in range(50)]

    async def test(scene: Scene) -> None:
        for number, data in enumerate(damaged):
            async with scene.attacker() as peer:
                await peer.write(data + frame(b"\x03\xe8", Opcode.CLOSE))
            if number % 10 == 0:
                await scene.others_are_well()

    on_a_scene(tmp_path, test)
