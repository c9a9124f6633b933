"""From a recorded use back to its grounds: license, issuer, matter, responsibility, article of law, block, proof.

What the bundle about the use proves is verified here under the policy; entries of the directory that the matter rests
on are proved one by one by evidence on their state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

from cli.output import CommandError, ExitCode, time_text
from cli.proofs import ProvedState
from cli.validation import use_id_of
from directory.codes import Collection
from directory.records import entry_key, record_from_value
from ledger.bundle import Bundle
from ledger.codec import Value
from ledger.entries import BlockEntry
from ledger.errors import InvalidProof
from ledger.light import TrustedView, VerifiedBundle
from ledger.membership import organisation_key
from ledger.policy import Policy
from ledger.suite import SHA256_ED25519
from licenses.disclosure import CommittedUse, committed_use
from licenses.models import STATUS_NAMES, License, LicenseType, license_key, type_key
from node.client import NodeClient


@dataclass(frozen=True, slots=True)
class Link:
    """One link of a trace: what it is, its id, what it says, and what proves it."""

    what: str
    identifier: str
    text: str
    proof: str

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def trace_use(client: NodeClient, use: str, policy: Policy) -> tuple[Link, ...]:
    """Trace a use; every link is proved under the policy.

    Raises:
        CommandError: not the id of a use, or a link is missing.
        LedgerError: a proof is false, or there is no quorum.
    """
    use_id = use_id_of(use)
    data = client.use_evidence(use_id.hex())
    view = TrustedView(SHA256_ED25519, policy)
    evidence = view.verify_bundle(Bundle.decode(SHA256_ED25519, data))
    committed = find_use(view.chain_id, evidence, use_id)
    known = {state.key: state.value for state in evidence.states}
    states = _States(ProvedState(client, policy, known, fresh=False))
    request = committed.request
    links = [
        Link(
            "use",
            use_id.hex(),
            f"{request.mode} mode, by {states.organisation(request.organisation)} in {request.division}"
            + _grounds(committed),
            f"log index {committed.index}",
        ),
        Link(
            "transaction",
            committed.transaction_id.hex(),
            f"operation {committed.operation_index} of a transaction in block {committed.height}",
            f"log index {committed.index}",
        ),
    ]
    for used in committed.licenses:
        links += _license_links(states, used.handle, used.fields)
    links += _matter_links(states, request.matter)
    links += _block_links(evidence, committed)
    return tuple(links)


def find_use(chain_id: str, evidence: VerifiedBundle, use_id: bytes) -> CommittedUse:
    """Return the use that verified evidence shows.

    Raises:
        CommandError: it shows no such use.
    """
    for entry in evidence.entries:
        try:
            return committed_use(SHA256_ED25519, entry, chain_id, use_id)
        except InvalidProof:
            continue
    raise CommandError("the bundle does not show the use", exit_code=ExitCode.REFUSED)


def _grounds(use: CommittedUse) -> str:
    """Return what a statutory use rests on instead of a consent."""
    basis, signed = use.request.basis, use.signed_approval
    if basis is None or signed is None:
        return ""
    told = "at once" if use.notice_after_ms is None else f"from {time_text(use.notice_after_ms)} on"
    return (
        f"; on {basis.instrument} article {basis.article}, approved by {signed.approval.officer}; "
        f"the holder is told {told}"
    )


class _States:
    """State values, proved: from the bundle where it has them, else by evidence asked for one by one."""

    def __init__(self, state: ProvedState) -> None:
        self._state = state

    def get(self, key: str) -> Mapping[str, Any]:
        """Return the value at a key.

        Raises:
            CommandError: the ledger has none.
        """
        value = self._state.get(key)
        if value is None:
            raise CommandError(
                f"the ledger has nothing at {key}", code="unknown", exit_code=ExitCode.REFUSED
            )
        return cast("Mapping[str, Any]", value)

    def organisation(self, uscc: str) -> str:
        return f"{self.get(organisation_key(uscc))['name']} ({uscc})"

    def effective(self, collection: Collection, identifier: str) -> Mapping[str, Any]:
        """Return the version of an entry that counts."""
        record = record_from_value(self.get(entry_key(collection, identifier)))
        if record.effective is None:
            raise CommandError(
                f"{collection} {identifier} counts no longer",
                code="not_effective",
                exit_code=ExitCode.REFUSED,
            )
        return cast("Mapping[str, Any]", record.effective)


def _license_links(states: _States, handle: bytes, fields: tuple[str, ...]) -> list[Link]:
    record = License.from_value(handle, cast("Value", states.get(license_key(handle))))
    kind = LicenseType.from_value(record.type, cast("Value", states.get(type_key(record.type))))
    status = f"{record.status} {STATUS_NAMES[record.status]}"
    return [
        Link(
            "license",
            handle.hex(),
            f"{kind.name}; fields {', '.join(fields)}; status now {status}; {record.uses} use(s)",
            "state",
        ),
        Link(
            "issuer",
            record.issuer,
            f"{states.organisation(record.issuer)}, recorded {time_text(record.recorded_ms)}",
            "state",
        ),
    ]


def _matter_links(states: _States, code: str) -> list[Link]:
    matter = states.effective("matter", code)
    links = [Link("matter", code, str(matter["name"]), "state")]
    for identifier in matter["responsibilities"]:
        responsibility = states.effective("responsibility", identifier)
        links.append(
            Link(
                "responsibility",
                identifier,
                f"{responsibility['name']}, of {states.organisation(responsibility['department'])}",
                "state",
            )
        )
    for basis in matter["articles"]:
        instrument = states.effective("instrument", basis["instrument"])
        links.append(
            Link(
                "article",
                f"{basis['instrument']} article {basis['article']}",
                f"{instrument['name']}, article {basis['article']}",
                "state",
            )
        )
    return links


def _block_links(evidence: VerifiedBundle, use: CommittedUse) -> list[Link]:
    checkpoint = evidence.checkpoint
    links = []
    for entry in evidence.entries:
        block = entry.entry
        if isinstance(block, BlockEntry) and block.height == use.height:
            links.append(
                Link(
                    "block",
                    str(block.height),
                    f"{time_text(block.time_ms)}, proposed by {block.proposer}, {block.block_id.hex()}",
                    f"log index {entry.index}",
                )
            )
    links.append(
        Link(
            "proof",
            f"checkpoint of size {checkpoint.checkpoint.size}",
            f"cosigned by {', '.join(checkpoint.cosigners)} at {time_text(checkpoint.time_ms)}",
            "policy",
        )
    )
    return links
