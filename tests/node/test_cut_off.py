"""Who is cut off for what another part of the node has found: gone at once, told why, and not waited for."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from node.link import CLOSE_TIMEOUT_S, QUEUE_BYTES
from node.messages import Priority, Status
from node.refusals import Refusal
from tests.node.links import Place, Recorder, two_nodes, until
from tests.node.raw_peer import frame
from tests.node.scene import HELLO, Scene, on_a_scene

REASON = "synchronised block: not signed"
FRAME_BYTES = 64 * 1024


def test_who_is_cut_off_is_gone_at_once_and_learns_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.peers.LIVED_S", 0.0)  # a link of any age: what is noted stays

    async def scenario() -> None:
        left, right = Recorder(), Recorder()
        async with two_nodes(Place(tmp_path), left, right) as (beijing, tianjin):
            await until(left, lambda: "tianjin" in beijing.links)
            await until(right, lambda: "beijing" in tianjin.links)
            tianjin.cut_off("beijing", REASON)
            assert dict(tianjin.links) == {}
            assert right.down == ["beijing"]
            assert not tianjin.send("beijing", Status(1, 0).encode(), Priority.CONSENSUS)
            await until(left, lambda: left.down == ["tianjin"])
            told = Refusal(is_ours=False, reason=REASON)
            assert beijing.refusals == {"tianjin": told}
            await asyncio.sleep(0.6)  # long enough for a redial, which is refused
            assert tianjin.refusals == {"beijing": replace(told, is_ours=True)}
            assert (right.up, right.down) == (["beijing"], ["beijing"])

    asyncio.run(scenario())


def test_the_reason_that_a_peer_repeats_is_not_its_own(tmp_path: Path) -> None:
    """Both ends cut each other off: each has its own reason, and keeps it."""

    async def scenario() -> None:
        left, right = Recorder(), Recorder()
        async with two_nodes(Place(tmp_path), left, right) as (beijing, tianjin):
            await until(left, lambda: "tianjin" in beijing.links)
            await until(right, lambda: "beijing" in tianjin.links)
            tianjin.cut_off("beijing", "one")
            beijing.cut_off("tianjin", "other")
            await asyncio.sleep(0.3)
            assert tianjin.refusals == {"beijing": Refusal(is_ours=True, reason="one")}
            assert beijing.refusals == {"tianjin": Refusal(is_ours=True, reason="other")}

    asyncio.run(scenario())


def test_what_it_says_afterwards_is_not_heard(tmp_path: Path) -> None:
    async def attack(scene: Scene) -> None:
        async with scene.attacker() as peer:
            await peer.write(frame(Status(1, 0).encode()))
            await until(scene.heard, lambda: ("hebei", Status(1, 0)) in scene.heard.messages)
            scene.tianjin.cut_off("hebei", REASON)
            heard = len(scene.heard.messages)
            for height in range(2, 50):
                await peer.write(frame(Status(height, 0).encode()))
            assert await peer.ended(2 * CLOSE_TIMEOUT_S)
            assert [name for name, _ in scene.heard.messages[heard:] if name == "hebei"] == []
            assert scene.tianjin.refusals["hebei"] == Refusal(is_ours=True, reason=REASON)

    on_a_scene(tmp_path, attack)


def test_a_connection_that_was_kept_ready_is_refused_as_well(tmp_path: Path) -> None:
    """It has shown its certificate before its name was cut off, and says hello afterwards."""

    async def attack(scene: Scene) -> None:
        async with scene.attacker(greet=False) as peer:
            await asyncio.sleep(0.1)
            scene.tianjin.cut_off("hebei", REASON)
            await peer.say_hello(HELLO)
            assert await peer.ended(2 * CLOSE_TIMEOUT_S)
            assert "hebei" not in scene.heard.up
            assert "hebei" not in scene.tianjin.links

    on_a_scene(tmp_path, attack)


def test_who_does_not_read_is_not_waited_for(tmp_path: Path) -> None:
    async def attack(scene: Scene) -> None:
        async with scene.attacker():
            link = scene.tianjin.links["hebei"]
            data = os.urandom(FRAME_BYTES)
            for _ in range(
                QUEUE_BYTES[Priority.SYNC] // FRAME_BYTES
            ):  # more than any buffer on the way
                link.send(data, Priority.SYNC)
            await asyncio.sleep(0.5)
            assert link._connection.transport.get_write_buffer_size() > 0
            began_s = time.monotonic()
            scene.tianjin.cut_off("hebei", REASON)
            assert "hebei" not in scene.tianjin.links
            assert not link._connection.connection_lost_waiter.done()
            await asyncio.wait_for(asyncio.shield(link._connection.connection_lost_waiter), 10)
            assert time.monotonic() - began_s < CLOSE_TIMEOUT_S + 1.0

    on_a_scene(tmp_path, attack)
