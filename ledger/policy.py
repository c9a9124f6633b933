"""Trust policies (c2sp.org/tlog-policy): which logs and witnesses a verifier trusts, and how many
must agree.

A policy of ours lists every validator's log key (any one of them signs the checkpoint), every
validator's witness key, and a group of more than two thirds of the witnesses as quorum. One comment
line of ours says when and of what the policy is a snapshot; other readers ignore it:

    # as-of <time, RFC 3339 UTC> <log size> <validators hash, hex>

Names are opaque octets, as the specification demands: they are held as str with `surrogateescape`,
which is one to one. A checkpoint's time under a policy is the time that a quorum vouches for: of a
group of threshold k, the k-th newest time of its members.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from ledger.checkpoints import SignedCheckpoint, parse_decimal
from ledger.errors import DecodeError, InvalidKey, InvalidProof
from ledger.notes import (
    KeyType,
    VerifierKey,
    verify_by_any,
)
from ledger.suite import Suite
from ledger.validators import Validator, is_quorum

MAX_POLICY_BYTES: Final = 64 * 1024
MAX_ITEMS: Final = 64
"""tlog-policy: support at least 32 logs, 32 witnesses and 32 groups; more than twice that is
nobody's network.
"""

NO_QUORUM: Final = "none"
VALIDATORS_GROUP: Final = "more-than-two-thirds"
"""The name of the quorum group in policies made by `policy_for`."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_WHITESPACE: Final = re.compile(r"[ \t]+")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,2}", re.ASCII)
_AS_OF: Final = re.compile(
    r"# as-of ([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})Z ([0-9]+) ([0-9a-f]{64})",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class AsOf:
    """When a policy was true, and of what: time in seconds since the epoch, size of the log, hash
    of the validators.
    """

    time_s: int
    size: int
    validators_hash: bytes

    def __str__(self) -> str:
        time = (_EPOCH + timedelta(seconds=self.time_s)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return f"# as-of {time} {self.size} {self.validators_hash.hex()}"

    @staticmethod
    def parse(line: str) -> AsOf:
        """Read the comment line.

        Raises:
            DecodeError: not an as-of line.
        """
        match = _AS_OF.fullmatch(line)
        if match is None:
            raise DecodeError(
                "expected: # as-of <YYYY-MM-DDThh:mm:ssZ> <log size> <validators hash, hex>"
            )
        year, month, day, hour, minute, second = (int(match[i]) for i in range(1, 7))
        try:
            time = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        except ValueError:
            raise DecodeError(f"no such time in {line[:40]!r}") from None
        if time < _EPOCH:
            raise DecodeError("as-of lies before 1970")
        return AsOf(
            (time - _EPOCH) // timedelta(seconds=1),
            parse_decimal(match[7]),
            bytes.fromhex(match[8]),
        )


@dataclass(frozen=True, slots=True)
class Log:
    """A log whose signature is accepted; the key's name is the origin."""

    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Witness:
    """A cosigner. `name` is the policy's own name for it; the key's name is what stands in
    notes.
    """

    name: str
    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """A group has witnessed a checkpoint if at least `threshold` of its members have."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PolicyVerdict:
    """What a policy says of a checkpoint; every signature by a known key has verified.

    `cosigners` are the policy's names of the witnesses that cosigned, `time_s` what a quorum
    vouches for (None without quorum, or if no cosignature is needed), `unknown` the number of lines
    by keys that the policy does not know.
    """

    quorum: bool
    log_signature: bool
    cosigners: tuple[str, ...]
    time_s: int | None
    unknown: int

    @property
    def satisfied(self) -> bool:
        """Whether the checkpoint is valid under the policy: signed by a log and cosigned by a
        quorum.
        """
        return self.quorum and self.log_signature


_Times: TypeAlias = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Policy:
    """A trust policy. `quorum` is the name of a witness or group, or `none`."""

    logs: tuple[Log, ...]
    witnesses: tuple[Witness, ...]
    groups: tuple[Group, ...]
    quorum: str
    as_of: AsOf | None = None

    def __post_init__(self) -> None:
        for items in (self.logs, self.witnesses, self.groups):
            if len(items) > MAX_ITEMS:
                raise ValueError(
                    f"a policy has at most {MAX_ITEMS} logs, witnesses and groups each"
                )
        _check_keys(self.logs, KeyType.ED25519)
        _check_keys(self.witnesses, KeyType.COSIGNATURE_V1)
        _check_groups(self.witnesses, self.groups, self.quorum)

    def check(self, suite: Suite, signed: SignedCheckpoint) -> PolicyVerdict:
        """Verify a checkpoint's signatures by keys of this policy; those by unknown keys are
        ignored.

        Raises:
            InvalidProof: a signature by a known key is bad, or a known key signed twice.
        """
        known: list[Log | Witness] = [*self.logs, *self.witnesses]
        text = signed.checkpoint.text.encode()
        times: dict[str, int] = {}
        log_signature, unknown = False, 0
        seen: list[Log | Witness] = []
        for signature in signed.signatures:
            named = [item for item in known if item.key.is_named_by(signature)]
            if not named:
                unknown += 1
                continue
            keys = [item.key for item in named]
            verified = verify_by_any(suite, text, signature, keys)
            signed_by = named[keys.index(verified.key)]
            if any(item is signed_by for item in seen):
                raise InvalidProof(f"two signatures by {signature.name[:80]!r}")
            seen.append(signed_by)
            if isinstance(signed_by, Log):
                log_signature = log_signature or signed_by.key.name == signed.checkpoint.origin
            elif verified.time_s is not None:
                times[signed_by.name] = verified.time_s
        time_s = self._time(times)
        return PolicyVerdict(
            self.quorum == NO_QUORUM or time_s is not None,
            log_signature,
            tuple(witness.name for witness in self.witnesses if witness.name in times),
            time_s,
            unknown,
        )

    def _time(self, times: _Times) -> int | None:
        """Return the time that a quorum vouches for, given the times of the cosignatures by
        witness; None without.
        """
        vouched: dict[str, int] = dict(times)
        for group in self.groups:  # members are defined before the group
            newest = sorted(
                (vouched[name] for name in group.members if name in vouched), reverse=True
            )
            if len(newest) >= group.threshold:
                vouched[group.name] = newest[group.threshold - 1]
        return vouched.get(self.quorum)

    def smallest_quorum(self, times: _Times) -> tuple[str, ...] | None:
        """Return as few of the witnesses in `times` as make a quorum, the newest; None if they do
        not make one.
        """
        chosen: dict[str, tuple[int, tuple[str, ...]]] = {
            name: (time, (name,)) for name, time in times.items()
        }
        for group in self.groups:
            # Fewest witnesses first, then the newest, then by name: the same for everyone.
            best = sorted(
                (chosen[name] for name in group.members if name in chosen),
                key=lambda item: (len(item[1]), -item[0], item[1]),
            )[: group.threshold]
            if len(best) == group.threshold:
                witnesses = tuple(sorted(name for _, names in best for name in names))
                chosen[group.name] = (min(time for time, _ in best), witnesses)
        if self.quorum == NO_QUORUM:
            return ()
        found = chosen.get(self.quorum)
        return None if found is None else found[1]

    def encode(self) -> bytes:
        """Return the policy file."""
        lines = [] if self.as_of is None else [str(self.as_of)]
        lines += [_line("log", str(log.key), log.url) for log in self.logs]
        lines += [
            _line("witness", witness.name, str(witness.key), witness.url)
            for witness in self.witnesses
        ]
        lines += [
            _line("group", group.name, str(group.threshold), *group.members)
            for group in self.groups
        ]
        lines.append(_line("quorum", self.quorum))
        return "".join(line + "\n" for line in lines).encode("utf-8", "surrogateescape")

    @staticmethod
    def parse(suite: Suite, data: bytes) -> Policy:
        """Read a policy file.

        Raises:
            DecodeError: with the line and what is wrong with it.
        """
        if len(data) > MAX_POLICY_BYTES:
            raise DecodeError(f"policy of {len(data)} bytes, at most {MAX_POLICY_BYTES}")
        text = data.decode("utf-8", "surrogateescape")
        if _CONTROL.search(text) is not None:
            raise DecodeError("policy: the only control characters allowed are tab and newline")
        if text and not text.endswith("\n"):
            raise DecodeError("policy: the last line does not end in a newline")
        parts = _Parts()
        for number, line in enumerate(text.split("\n"), 1):
            try:
                parts.add(suite, line.strip(" \t"))
            except (DecodeError, InvalidKey, ValueError) as error:
                raise DecodeError(f"policy, line {number}: {error}") from None
        if parts.quorum is None:
            raise DecodeError("policy: no quorum line")
        return Policy(
            tuple(parts.logs),
            tuple(parts.witnesses),
            tuple(parts.groups),
            parts.quorum,
            parts.as_of,
        )


def _line(*items: str | None) -> str:
    return " ".join(item for item in items if item is not None)


def _check_keys(items: tuple[Log, ...] | tuple[Witness, ...], key_type: KeyType) -> None:
    """tlog-policy: no two logs, and no two witnesses, with the same public key; each of a fitting
    type.
    """
    keys = [item.key.public_key for item in items]
    if len(set(keys)) != len(keys):
        raise ValueError("two logs or two witnesses have the same public key")
    for item in items:
        if item.key.key_type is not key_type:
            raise ValueError(
                f"key of {item.key.name!r} has type {item.key.key_type:#04x}, expected {key_type:#04x}"
            )


def _check_groups(witnesses: tuple[Witness, ...], groups: tuple[Group, ...], quorum: str) -> None:
    """tlog-policy: names are unique and defined before use, each member of one group only, 1 <= k
    <= n.
    """
    defined: set[str] = set()
    used: set[str] = set()
    items: list[Witness | Group] = [*witnesses, *groups]
    for item in items:
        if item.name in defined or item.name == NO_QUORUM:
            raise ValueError(f"name {item.name!r} is already taken")
        if isinstance(item, Group):
            if not 1 <= item.threshold <= len(item.members):
                raise ValueError(
                    f"group {item.name!r}: threshold {item.threshold} of {len(item.members)} members"
                )
            for member in item.members:
                if member not in defined:
                    raise ValueError(
                        f"group {item.name!r}: {member!r} is not defined on a line before"
                    )
                if member in used:
                    raise ValueError(f"{member!r} is a member twice")
                used.add(member)
        defined.add(item.name)
    if quorum != NO_QUORUM and quorum not in defined:
        raise ValueError(f"quorum {quorum!r} is not defined on a line before")


class _Parts:
    """What has been read of a policy file so far. Each line is checked against those before it."""

    def __init__(self) -> None:
        self.logs: list[Log] = []
        self.witnesses: list[Witness] = []
        self.groups: list[Group] = []
        self.quorum: str | None = None
        self.as_of: AsOf | None = None

    def add(self, suite: Suite, line: str) -> None:
        """Add one line, stripped of surrounding whitespace."""
        if line.startswith("#"):
            if line.startswith("# as-of"):
                if self.as_of is not None:
                    raise DecodeError("a second as-of line")
                self.as_of = AsOf.parse(line)
            return
        if not line:
            return
        match _WHITESPACE.split(line):
            case ["log", key, *url] if len(url) <= 1:
                self.logs.append(Log(VerifierKey.parse(suite, key), *url))
            case ["witness", name, key, *url] if len(url) <= 1:
                self.witnesses.append(Witness(name, VerifierKey.parse(suite, key), *url))
            case ["group", name, threshold, *members] if members:
                self.groups.append(Group(name, _threshold(threshold, len(members)), tuple(members)))
            case ["quorum", name] if self.quorum is None:
                self.quorum = name
            case [keyword, *_]:
                raise DecodeError(
                    f"not a log, witness, group or the one quorum line: {keyword[:40]!r}"
                )
        self._check()

    def _check(self) -> None:
        _check_keys(tuple(self.logs), KeyType.ED25519)
        _check_keys(tuple(self.witnesses), KeyType.COSIGNATURE_V1)
        _check_groups(tuple(self.witnesses), tuple(self.groups), self.quorum or NO_QUORUM)
        if max(len(self.logs), len(self.witnesses), len(self.groups)) > MAX_ITEMS:
            raise DecodeError(f"more than {MAX_ITEMS} logs, witnesses or groups")


def _threshold(text: str, members: int) -> int:
    if text in ("any", "all"):
        return 1 if text == "any" else members
    if _NUMBER.fullmatch(text) is None:
        raise DecodeError(f"threshold is neither any, all nor a number: {text[:40]!r}")
    return int(text)


def policy_for(
    suite: Suite, validators: Iterable[Validator], chain_id: str, as_of: AsOf | None = None
) -> Policy:
    """Return the policy of a network: any validator's log key, and more than two thirds of the
    witness keys.

    Raises:
        ValueError: no validators, or one whose name is taken by the quorum group.
        InvalidKey: a name that no note may carry.
    """
    members = sorted(validators, key=lambda validator: validator.name)
    threshold = next(k for k in range(len(members) + 2) if is_quorum(k, len(members)))
    names = tuple(member.name for member in members)
    return Policy(
        tuple(
            Log(VerifierKey.create(suite, chain_id, KeyType.ED25519, member.log_key))
            for member in members
        ),
        tuple(
            Witness(
                member.name,
                VerifierKey.create(suite, member.name, KeyType.COSIGNATURE_V1, member.witness_key),
            )
            for member in members
        ),
        (Group(VALIDATORS_GROUP, threshold, names),),
        VALIDATORS_GROUP,
        as_of,
    )


def policy_problem(suite: Suite, validators: Sequence[Validator], chain_id: str) -> str | None:
    """Say why no client could follow checkpoints of these validators, or None.

    Names must suit notes and the policy's groups. Log keys share one key name, so two whose four-byte
    key ids agree would be ambiguous to a stock client, and such a key can be searched for.
    """
    try:
        policy = policy_for(suite, validators, chain_id)
    except (ValueError, InvalidKey) as error:
        return str(error)
    key_ids = {log.key.key_id for log in policy.logs}
    if len(key_ids) != len(policy.logs):
        return "two log keys have the same note key id"
    return None
