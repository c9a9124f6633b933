"""Transcripts of an entry's life: command, `----`, what came of it.

A file under testdata/ is read block by block: lines that begin with `#` say why, one line is the
command, and the lines between `----` and the next empty line are what it must print. Set
MULU_REWRITE=1 to write what was printed into the files instead, and read the difference.

Commands: `<officer> publish|amend <collection> [field=JSON …]`, `<officer> retire <collection>
[id=…]`, `<officer> approve|return|withdraw <collection> [id=…] [version=…]`, `<officer> revoke
<officer> since=<seconds>`, `<officer> dissolve department`, `remember <name> <collection>` (the
version that waits), `wait <days>`, `counts`. `@tongzhou` is that organisation's USCC. Officers,
entries and their fields are those of `town`.
"""

from __future__ import annotations

import json
from typing import Any, cast

from directory.codes import Collection
from directory.lookup import effective_matter, is_entrusted, matter_problem
from directory.models import ENTRY_MODELS
from directory.records import EntryRecord
from ledger.membership_operations import DissolveOrganisation, RevokeKey
from ledger.operations import body_value
from ledger.transactions import Operation
from tests.directory.town import (
    BODIES,
    CENTRE,
    DAY_MS,
    DEPARTMENT,
    MATTER,
    NATIONAL,
    TONGZHOU,
    Ledger,
    body_of,
    key,
    sample,
)


class Session:
    """Runs commands against a ledger on which everything that `matter` rests on counts already, or
    nothing does."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.remembered: dict[str, bytes] = {}

    def run(self, command: str) -> str:
        """Carry out one command and return what it prints."""
        words = command.split()
        if words[0] == "establish":
            self.ledger.establish(*(sample(cast(Collection, name)) for name in words[1:]))
            return "ok"
        if words[0] == "wait":
            self.ledger.time_ms += int(words[1]) * DAY_MS
            return "ok"
        if words[0] == "counts":
            return self._counts()
        if words[0] == "remember":
            record = self.ledger.record(*self._place(cast(Collection, words[2]), {}))
            assert record is not None and record.pending is not None
            self.remembered[words[1]] = record.pending.version
            return "ok"
        return self._act(words[0], words[1], words[2], _arguments(words[3:]))

    def _act(self, officer: str, verb: str, subject: str, arguments: dict[str, Any]) -> str:
        ledger = self.ledger
        if verb == "revoke":
            since_ms = ledger.time_ms + 1000 * arguments["since"]
            revocation = RevokeKey(key=str(key(subject).public_key), compromised_since_ms=since_ms)
            return (
                ledger.run(officer, Operation("ledger.key.revoke", body_value(revocation))) or "ok"
            )
        if verb == "dissolve":
            dissolution = DissolveOrganisation(uscc=DEPARTMENT)
            operation = Operation("ledger.organisation.dissolve", body_value(dissolution))
            return ledger.run(officer, operation) or "ok"
        collection = cast(Collection, subject)
        place = self._place(collection, arguments)
        if verb in ("publish", "amend"):
            body = body_of(collection, **arguments)
            code = ledger.run(officer, Operation(f"directory.{collection}.{verb}", body))
        elif verb == "retire":
            code = ledger.retire(officer, *place)
        else:
            version = arguments.get("version")
            named = self.remembered[version] if version is not None else None
            code = ledger.decide(officer, verb, *place, named)
        return f"{code or 'ok'}\n{describe(ledger.record(*place))}"

    def _place(self, collection: Collection, arguments: dict[str, Any]) -> tuple[Collection, str]:
        if "id" in arguments and collection not in ("instrument", "system", "resource"):
            return collection, arguments.pop("id")
        fields = {**BODIES[collection], **arguments}
        entry = ENTRY_MODELS[collection].model_construct(**fields)
        return collection, entry.identifier

    def _counts(self) -> str:
        ledger = self.ledger
        matter = effective_matter(ledger, MATTER)
        problem = matter and matter_problem(ledger, matter, ledger.time_ms)
        carried = "no" if matter is None else problem or "yes"
        entrusted = is_entrusted(ledger, DEPARTMENT, CENTRE, MATTER, ledger.time_ms)
        return f"matter: {carried}; centre entrusted: {'yes' if entrusted else 'no'}"


def describe(record: EntryRecord | None) -> str:
    """Return a record on one line."""
    if record is None:
        return "no record"
    name = (
        "-"
        if record.effective is None
        else record.effective.get("name") or record.effective["document"]
    )
    waits = "-" if record.pending is None else record.pending.action
    decision = "-" if record.decision is None else record.decision.outcome
    actions = ",".join(change.action for change in record.history) or "-"
    return (
        f"{record.status}; counts: {name}; waits: {waits}; last decision: {decision}; "
        f"versions: {record.versions} ({actions})"
    )


_ORGANISATIONS = {"national": NATIONAL, "tongzhou": TONGZHOU, "department": DEPARTMENT}


def _arguments(words: list[str]) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    for word in words:
        name, _, text = word.partition("=")
        if text.startswith("@"):
            arguments[name] = _ORGANISATIONS[text[1:]]
            continue
        try:
            value = json.loads(text)
        except ValueError:
            value = text.replace("_", " ") if name in ("name", "text") else text
        arguments[name] = tuple(value) if isinstance(value, list) else value
    return arguments


def run_transcript(text: str) -> str:
    """Run a transcript and return it with what its commands printed."""
    session = Session()
    blocks = []
    for block in text.strip("\n").split("\n\n"):
        lines = block.split("\n")
        comments = [line for line in lines if line.startswith("#")]
        rest = [line for line in lines if not line.startswith("#")]
        if not rest:
            blocks.append("\n".join(comments))
            continue
        printed = session.run(rest[0])
        blocks.append("\n".join([*comments, rest[0], "----", printed]))
    return "\n\n".join(blocks) + "\n"
