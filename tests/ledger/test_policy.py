"""Trust policies (c2sp.org/tlog-policy): the file, quorums, times, and gathering signatures."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.checkpoint_collector import CheckpointCollector
from ledger.checkpoints import Checkpoint, SignedCheckpoint, cosign, sign_checkpoint
from ledger.errors import DecodeError, InvalidProof
from ledger.notes import MAX_SIGNATURES, KeyType, NoteSignature, VerifierKey
from ledger.policy import (
    AsOf,
    Group,
    Log,
    Policy,
    PolicyVerdict,
    Witness,
    policy_for,
)
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.validators import is_quorum
from tests.ledger.sample_chain import CHAIN_ID, FOUNDERS, Member, signer, validator_set

_TREE = Checkpoint(CHAIN_ID, 12, bytes(range(32)))
_AS_OF = AsOf(1_760_000_000, 12, validator_set(FOUNDERS).hash(SUITE))
_POLICY = policy_for(SUITE, validator_set(FOUNDERS), CHAIN_ID, _AS_OF)
_NAMES = ("X1", "X2", "X3", "Y1", "Y2", "Y3")


def _log(label: str, origin: str = CHAIN_ID) -> Log:
    key = VerifierKey.create(SUITE, origin, KeyType.ED25519, signer(f"log {label}").public_key)
    return Log(key)


def _witness(name: str) -> Witness:
    public_key = signer(f"witness {name}").public_key
    return Witness(name, VerifierKey.create(SUITE, f"w/{name}", KeyType.COSIGNATURE_V1, public_key))


def _nested() -> Policy:
    """Return the example policy of the specification."""
    return Policy(
        (_log("a"),),
        tuple(_witness(name) for name in _NAMES),
        (
            Group("X-witnesses", 2, _NAMES[:3]),
            Group("Y-witnesses", 1, _NAMES[3:]),
            Group("X-and-Y", 2, ("X-witnesses", "Y-witnesses")),
        ),
        "X-and-Y",
    )


def _signed(times: dict[str, int], *, log: str | None = "a") -> SignedCheckpoint:
    lines = [] if log is None else [sign_checkpoint(SUITE, signer(f"log {log}"), _TREE)]
    lines += [
        cosign(SUITE, signer(f"witness {name}"), f"w/{name}", _TREE, time_s)
        for name, time_s in times.items()
    ]
    return SignedCheckpoint(_TREE, tuple(lines))


def _example_text() -> bytes:
    policy = _nested()
    keys = {witness.name: str(witness.key) for witness in policy.witnesses}
    witnesses = "".join(
        f"\twitness  {name} {keys[name]}\thttps://w.example/{name} \n" for name in keys
    )
    return (
        f"# a comment \u76ee\u5f55\n\n   # another\nlog {policy.logs[0].key}\n{witnesses}"
        "group X-witnesses 2 X1 X2 X3\n"
        "group Y-witnesses any Y1 Y2 Y3\n"
        "group X-and-Y all X-witnesses Y-witnesses\n"
        "quorum X-and-Y\n"
    ).encode()


def test_the_example_of_the_specification_reads_as_it_is_meant() -> None:
    policy = Policy.parse(SUITE, _example_text())
    assert policy.groups == _nested().groups
    assert policy.quorum == "X-and-Y"
    assert policy.witnesses[0].url == "https://w.example/X1"
    assert Policy.parse(SUITE, policy.encode()) == policy


@given(st.sets(st.sampled_from(_NAMES)))
def test_the_nested_quorum_holds_exactly_when_both_groups_agree(names: set[str]) -> None:
    verdict = _nested().check(SUITE, _signed(dict.fromkeys(names, 7)))
    expected = len(names & set(_NAMES[:3])) >= 2 and bool(names & set(_NAMES[3:]))
    assert verdict.quorum is expected
    assert verdict.satisfied is expected
    assert set(verdict.cosigners) == names
    assert verdict.time_s == (7 if expected else None)


@given(st.dictionaries(st.sampled_from(_NAMES), st.integers(1, 50)))
def test_the_time_vouched_for_is_one_that_a_quorum_has_reached_and_no_later_one_is(
    times: dict[str, int],
) -> None:
    policy = _nested()
    time_s = policy.check(SUITE, _signed(times)).time_s

    def quorum_at(instant: int) -> bool:
        reached = {name: 0 for name, time in times.items() if time >= instant}
        return policy.smallest_quorum(reached) is not None

    assert time_s == max((t for t in range(1, 51) if quorum_at(t)), default=None)


@given(st.dictionaries(st.sampled_from(_NAMES), st.integers(1, 50)))
def test_the_smallest_quorum_is_a_quorum_without_a_witness_to_spare(times: dict[str, int]) -> None:
    policy = _nested()
    chosen = policy.smallest_quorum(times)
    if chosen is None:
        assert not policy.check(SUITE, _signed(times)).quorum
        return
    assert set(chosen) <= set(times)
    assert policy.check(SUITE, _signed({name: times[name] for name in chosen})).quorum
    for spared in chosen:
        fewer = {name: times[name] for name in chosen if name != spared}
        assert policy.smallest_quorum(fewer) is None


@pytest.mark.parametrize("count", range(1, 23))
def test_a_networks_policy_asks_for_more_than_two_thirds_of_any_number_of_validators(
    count: int,
) -> None:
    members = [Member(f"v{number:02}") for number in range(count)]
    policy = policy_for(SUITE, validator_set(members), CHAIN_ID)
    threshold = policy.groups[0].threshold
    assert is_quorum(threshold, count)
    assert not is_quorum(threshold - 1, count)
    assert len(policy.logs) == len(policy.witnesses) == count
    assert Policy.parse(SUITE, policy.encode()) == policy
    assert threshold + 1 <= MAX_SIGNATURES


def test_a_log_signature_for_another_origin_or_by_a_stranger_does_not_count() -> None:
    times = dict.fromkeys(_NAMES, 7)
    assert not _nested().check(SUITE, _signed(times, log=None)).log_signature
    stranger = _nested().check(SUITE, _signed(times, log="b"))
    assert stranger == PolicyVerdict(True, False, _NAMES, 7, 1)
    elsewhere = Policy((_log("a", "other-origin"),), (), (), "none")
    line = sign_checkpoint(SUITE, signer("log a"), _TREE)
    relabelled = NoteSignature("other-origin", elsewhere.logs[0].key.key_id, line.signature)
    assert not elsewhere.check(SUITE, SignedCheckpoint(_TREE, (relabelled,))).log_signature


def test_a_bad_signature_of_a_known_key_and_a_second_one_reject_the_checkpoint() -> None:
    good = _signed({"X1": 7})
    line = good.signatures[1]
    bad = NoteSignature(line.name, line.key_id, line.signature[:-1] + b"\0")
    for lines in ((bad,), (line, line)):
        with pytest.raises(InvalidProof):
            _nested().check(SUITE, SignedCheckpoint(_TREE, lines))


def test_a_policy_without_quorum_needs_a_log_signature_only() -> None:
    policy = Policy((_log("a"),), (), (), "none")
    assert policy.check(SUITE, _signed({})) == PolicyVerdict(True, True, (), None, 0)
    assert Policy.parse(SUITE, policy.encode()) == policy


def test_the_as_of_line_is_read_and_written() -> None:
    text = _POLICY.encode().decode()
    assert text.startswith(f"# as-of 2025-10-09T08:53:20Z 12 {_AS_OF.validators_hash.hex()}\n")
    parsed = Policy.parse(SUITE, text.encode())
    assert parsed == _POLICY
    assert parsed.as_of == _AS_OF


@given(st.integers(0, 253_402_300_799), st.integers(0, 2**63 - 1))
def test_every_time_to_the_year_9999_round_trips(time_s: int, size: int) -> None:
    as_of = AsOf(time_s, size, bytes(32))
    assert AsOf.parse(str(as_of)) == as_of


_KEYS = {
    "LOG": str(_log("a").key),
    "LOG2": str(_log("b").key),
    "W1": str(_witness("X1").key),
    "W2": str(_witness("X2").key),
    "HASH": "00" * 32,
}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no quorum"),
        ("log LOG\n", "no quorum"),
        ("quorum none", "newline"),
        ("quorum none\nquorum none\n", "line 2"),
        ("quorum\n", "line 1"),
        ("quorum a b\n", "line 1"),
        ("quorum w\n", "not defined"),
        ("quorum w\nwitness w W1\n", "not defined"),
        ("log W1\nquorum none\n", "type"),
        ("witness w LOG\nquorum none\n", "type"),
        ("log LOG\nlog LOG\nquorum none\n", "same public key"),
        ("witness a W1\nwitness b W1\nquorum none\n", "same public key"),
        ("witness w W1\nwitness w W2\nquorum none\n", "already taken"),
        ("witness none W1\nquorum none\n", "already taken"),
        ("witness w W1\ngroup w 1 w\nquorum w\n", "already taken"),
        ("witness w W1\ngroup none 1 w\nquorum none\n", "already taken"),
        ("witness w W1\ngroup g 0 w\nquorum g\n", "neither any, all nor a number"),
        ("witness w W1\ngroup g 01 w\nquorum g\n", "neither any, all nor a number"),
        ("witness w W1\ngroup g +1 w\nquorum g\n", "neither any, all nor a number"),
        ("witness w W1\ngroup g \u0661 w\nquorum g\n", "neither any, all nor a number"),
        ("witness w W1\ngroup g 2 w\nquorum g\n", "threshold 2 of 1"),
        ("witness w W1\ngroup g 2 w w\nquorum g\n", "twice"),
        ("witness w W1\ngroup g any w\ngroup h any w\nquorum g\n", "twice"),
        ("witness w W1\ngroup g any g\nquorum g\n", "not defined"),
        ("witness w W1\ngroup g any none\nquorum g\n", "not defined"),
        ("witness w W1\ngroup g any\nquorum g\n", "line 2"),
        ("log LOG url url\nquorum none\n", "line 1"),
        ("log\nquorum none\n", "line 1"),
        ("log LOG2x\nquorum none\n", "verifier key"),
        ("Log LOG\nquorum none\n", "line 1"),
        ("log\u00a0LOG\nquorum none\n", "line 1"),
        ("quorum none\r\n", "control"),
        ("quorum none\x0b\n", "control"),
        ("quorum none\x7f\n", "control"),
        ("# as-of yesterday 12 HASH\nquorum none\n", "as-of"),
        ("# as-of 2026-02-30T00:00:00Z 12 HASH\nquorum none\n", "no such time"),
        ("# as-of 1969-12-31T23:59:59Z 12 HASH\nquorum none\n", "1970"),
        ("# as-of 2026-01-01T00:00:00Z 012 HASH\nquorum none\n", "decimal"),
        ("# as-of 2026-01-01T00:00:00Z 12 00\nquorum none\n", "as-of"),
        ("# as-of 2026-01-01T00:00:00Z 12 HASH\n# as-of 2026-01-01T00:00:00Z 12 HASH\n", "second"),
        ("#\n" * 40_000, "at most"),
    ],
)
def test_a_policy_that_breaks_a_rule_is_refused_with_the_reason(text: str, reason: str) -> None:
    for name in sorted(_KEYS, key=len, reverse=True):
        text = text.replace(name, _KEYS[name])
    with pytest.raises(DecodeError, match=reason):
        Policy.parse(SUITE, text.encode())


def test_thirty_two_of_everything_are_accepted_and_hundreds_are_not() -> None:
    def text(count: int) -> bytes:
        lines = [f"log {_log(f'many-{n}').key}" for n in range(count)]
        lines += [f"witness w{n} {_witness(f'many-{n}').key}" for n in range(count)]
        lines += [f"group g{n} any w{n}" for n in range(count)]
        return "".join(f"{line}\n" for line in [*lines, "quorum g0"]).encode()

    assert len(Policy.parse(SUITE, text(32)).groups) == 32
    with pytest.raises(DecodeError):
        Policy.parse(SUITE, text(65))


def test_names_are_octets_and_survive_even_where_they_are_not_utf8() -> None:
    key = str(_witness("X1").key).encode()
    data = b"witness \xe2\x84\xaa\xff " + key + b"\nwitness K " + str(_witness("X2").key).encode()
    policy = Policy.parse(SUITE, data + b"\nquorum \xe2\x84\xaa\xff\n")
    assert policy.witnesses[0].name != "K"
    assert policy.encode() == data + b"\nquorum \xe2\x84\xaa\xff\n"


@given(st.binary(max_size=100))
def test_bytes_are_a_policy_or_a_decode_error(data: bytes) -> None:
    for candidate in (data, b"quorum none\n" + data):
        with contextlib.suppress(DecodeError):
            policy = Policy.parse(SUITE, candidate)
            assert Policy.parse(SUITE, policy.encode()) == policy


@given(
    st.lists(st.tuples(st.sampled_from(FOUNDERS), st.integers(1, 9), st.booleans()), max_size=14)
)
def test_a_collector_is_satisfied_exactly_when_the_policy_is(
    arrivals: list[tuple[Member, int, bool]],
) -> None:
    collector = CheckpointCollector(SUITE, _POLICY, _TREE)
    newest: dict[str, int] = {}
    logs: set[str] = set()
    for member, time_s, is_log in arrivals:
        if is_log:
            line = sign_checkpoint(SUITE, member.log_signer, _TREE)
            assert collector.add(line) is (member.name not in logs)
            logs.add(member.name)
        else:
            line = cosign(SUITE, member.witness_signer, member.name, _TREE, time_s)
            assert collector.add(line) is (time_s > newest.get(member.name, 0))
            newest[member.name] = max(time_s, newest.get(member.name, 0))
    result = collector.result()
    assert (result is not None) is (bool(logs) and len(newest) >= 3)
    assert len(collector.signatures) == len(logs) + len(newest)
    if result is not None:
        verdict = _POLICY.check(SUITE, result)
        assert verdict.satisfied
        assert verdict.unknown == 0
        assert len(result.signatures) == 4
        assert verdict.time_s == sorted(newest.values(), reverse=True)[2]
        assert SignedCheckpoint.parse(result.encode()) == result


def test_a_collector_refuses_strangers_and_bad_signatures_and_keeps_what_it_has() -> None:
    collector = CheckpointCollector(SUITE, _POLICY, _TREE)
    good = cosign(SUITE, FOUNDERS[0].witness_signer, FOUNDERS[0].name, _TREE, 5)
    assert collector.add(good)
    other_tree = Checkpoint(CHAIN_ID, 13, bytes(32))
    for line in (
        cosign(SUITE, signer("stranger"), FOUNDERS[0].name, _TREE, 6),
        cosign(SUITE, FOUNDERS[0].witness_signer, FOUNDERS[0].name, other_tree, 6),
        NoteSignature(good.name, good.key_id, bytes(8) + good.signature[8:]),
        NoteSignature(good.name, good.key_id, (9).to_bytes(8, "big") + good.signature[8:]),
        NoteSignature(good.name, good.key_id, b"short"),
        sign_checkpoint(SUITE, signer("stranger"), _TREE),
        sign_checkpoint(SUITE, FOUNDERS[1].log_signer, other_tree),
    ):
        with contextlib.suppress(InvalidProof):
            assert collector.add(line) is False
        assert collector.signatures == (good,)


def _colliding_policy() -> Policy:
    """Return the founders' policy, the second log key and witness made to share name and id with the first."""

    def disguised(key: VerifierKey, first: VerifierKey) -> VerifierKey:
        return dataclasses.replace(key, name=first.name, key_id=first.key_id)

    logs, witnesses = _POLICY.logs, _POLICY.witnesses
    return dataclasses.replace(
        _POLICY,
        logs=(Log(disguised(logs[1].key, logs[0].key)), logs[0], *logs[2:]),
        witnesses=(
            dataclasses.replace(witnesses[1], key=disguised(witnesses[1].key, witnesses[0].key)),
            witnesses[0],
            *witnesses[2:],
        ),
    )


def test_a_key_ground_to_collide_with_another_keys_id_does_not_void_that_keys_signatures() -> None:
    policy = _colliding_policy()
    lines = [sign_checkpoint(SUITE, FOUNDERS[0].log_signer, _TREE)]
    for member in FOUNDERS:
        line = cosign(SUITE, member.witness_signer, member.name, _TREE, 5)
        if member == FOUNDERS[1]:
            line = dataclasses.replace(line, name=lines[1].name, key_id=lines[1].key_id)
        lines.append(line)
    signed = SignedCheckpoint(_TREE, tuple(lines))
    verdict = policy.check(SUITE, signed)
    assert verdict.satisfied
    assert set(verdict.cosigners) == {member.name for member in FOUNDERS}
    collector = CheckpointCollector(SUITE, policy, _TREE)
    assert all(collector.add(line) for line in lines)
    assert not any(collector.add(line) for line in lines)
    assert collector.result() is not None


def test_a_validator_cannot_take_the_quorums_name() -> None:
    members = [Member(name) for name in ("a", "b", "c", "more-than-two-thirds")]
    with pytest.raises(ValueError, match="already taken"):
        policy_for(SUITE, validator_set(members), CHAIN_ID)
