"""Following the log: the newest checkpoint of a node against the one that was kept, by tiles, under a policy.

Neither the node nor the file is believed. What is kept is a signed note as the node serves it at `/checkpoint`, so that
any C2SP tool reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from cli.output import CommandError, ExitCode, counted, time_text
from cli.output_files import write_output
from cli.validation import read_bytes
from cli.validator_changes import fetch_changes
from ledger.bundle import ValidatorChange
from ledger.checkpoints import Checkpoint, SignedCheckpoint
from ledger.errors import DecodeError, InvalidProof
from ledger.growth import Growth, entry_tiles, verify_entries, verify_growth
from ledger.light import NotEstablishedError, TrustedView, VerifiedCheckpoint
from ledger.notes import MAX_NOTE_BYTES
from ledger.suite import HASH_BYTES, SHA256_ED25519
from ledger.tiles import TILE_WIDTH, Tile, TileTree, decode_entries, tile_width
from node.client import NodeClient
from node.errors import ApiProblem

Outcome: TypeAlias = Literal["first", "extends", "same", "behind", "contradicts"]

_EXIT_CODES: Final[dict[Outcome, ExitCode]] = {
    "first": ExitCode.OK,
    "extends": ExitCode.OK,
    "same": ExitCode.OK,
    "behind": ExitCode.NOT_ESTABLISHED,
    "contradicts": ExitCode.REFUSED,
}

_PUBLIC: Final = 0o644
"""Mode of what is kept: others may well compare it with what they have."""


@dataclass(frozen=True, slots=True)
class Look:
    """What came of one look at a node's log.

    `kept` is what was kept before, None at first. `signed_by` are those who vouch for the kept checkpoint under the
    policy, None where the policy does not say; it is looked up where the node's checkpoint does not extend the kept
    one, or is the same. Of a contradiction the `evidence` is written; `unwritten` is what is lacking of it,
    `unwritten_because` why.
    """

    outcome: Outcome
    signed: SignedCheckpoint
    verified: VerifiedCheckpoint
    kept: SignedCheckpoint | None
    growth: Growth | None
    tiles: int
    entries: int | None
    signed_by: tuple[str, ...] | None = None
    evidence: tuple[Path, ...] = ()
    unwritten: tuple[Path, ...] = ()
    unwritten_because: str | None = None

    @property
    def exit_code(self) -> ExitCode:
        return _EXIT_CODES[self.outcome]

    @property
    def keeps(self) -> bool:
        """Whether the node's checkpoint takes the kept one's place: the same one, where nobody vouches for that."""
        return self.outcome in ("first", "extends") or (
            self.outcome == "same" and self.signed_by is None
        )

    def to_json(self) -> dict[str, Any]:
        """Return the look as a JSON object."""
        return {
            "outcome": self.outcome,
            "checkpoint": _describe(self.signed),
            "checkpoint_time_ms": self.verified.time_ms,
            "cosigners": list(self.verified.cosigners),
            "kept_before": None if self.kept is None else _describe(self.kept),
            "kept_before_cosigners": None if self.signed_by is None else list(self.signed_by),
            "tiles": self.tiles,
            "entries": self.entries,
            "evidence": [str(path) for path in self.evidence],
            "evidence_not_written": [str(path) for path in self.unwritten],
            "evidence_not_written_because": self.unwritten_because,
        }

    def text(self, file: Path) -> str:
        """Return the look as sentences for people."""
        size = self.signed.checkpoint.size
        before = 0 if self.kept is None else self.kept.checkpoint.size
        vouched = f"cosigned by {', '.join(self.verified.cosigners)} at {time_text(self.verified.time_ms)}"
        read = (
            ""
            if self.entries is None
            else f" Entries read and found to be the log's: {self.entries}."
        )
        match self.outcome:
            case "first":
                return (
                    f"Nothing was kept before, so nothing was compared. Kept in {file}: the checkpoint of size "
                    f"{size}, {vouched}.{read}"
                )
            case "extends":
                return (
                    f"The log has grown from {before} to {size} entries, and nothing before was changed: shown by "
                    f"{counted(self.tiles, 'hash tile')}.{read} Kept in {file}: that of size {size}, {vouched}."
                )
            case "same":
                return f"Nothing new: {file} has the newest checkpoint, of size {size}, {vouched}."
            case "behind":
                return self._behind(file)
            case "contradicts":
                return self._contradiction(file)

    def _behind(self, file: Path) -> str:
        assert self.kept is not None, "nothing is behind nothing"
        size, before = self.signed.checkpoint.size, self.kept.checkpoint.size
        if self.signed_by is None:
            return (
                f"The node's newest checkpoint has size {size}, {file} says {before}, but whether that was ever "
                "vouched for, policy and node do not show: the validators have changed since, or the file was "
                f"altered. This shows nothing; {file} stays. Ask another node."
            )
        return (
            f"This node is behind: its newest checkpoint has size {size}, the kept one {before}, cosigned by "
            f"{', '.join(self.signed_by)}. This shows nothing new; {file} stays. Ask another node."
        )

    def _contradiction(self, file: Path) -> str:
        assert self.kept is not None and self.growth is not None, "nothing else contradicts"
        what = "The log was FORKED"
        if self.signed_by is None:
            what = "The log contradicts the kept checkpoint"
            whose = (
                f"Whether {file} was ever vouched for, this policy does not say: it is older than the policy, or "
                "was altered."
            )
        else:
            both = [name for name in self.verified.cosigners if name in self.signed_by]
            whose = f"Who signed both: {', '.join(both) or 'nobody, the validators have changed'}."
        return (
            f"{what}: the first {self.growth.old.size} entries of the node's log of size "
            f"{self.growth.new.size} are others than were kept. {whose} {file} stays; {self._evidence_text()}"
        )

    def _evidence_text(self) -> str:
        written = ", ".join(str(path) for path in self.evidence)
        if not self.unwritten:
            return f"the evidence is in {written}. Show it to the members."
        only = f"only {written} has been written. " if self.evidence else ""
        lacking = ", ".join(str(path) for path in self.unwritten)
        return (
            f"{only}THE EVIDENCE IS NOT WRITTEN: {lacking} ({self.unwritten_because}). Mend that, and look at "
            "the same node again."
        )


class NodeTiles:
    """The tiles of a node's log under a checkpoint; none of them is believed. Hash tiles are asked for once."""

    def __init__(self, client: NodeClient, size: int) -> None:
        self._client = client
        self._size = size
        self._read: dict[tuple[int, int], bytes] = {}

    @property
    def read_count(self) -> int:
        """How many hash tiles have been read."""
        return len(self._read)

    def read(self, level: int, index: int) -> bytes:
        """Return a hash tile as far as the checkpoint reaches.

        Raises:
            InvalidProof: it has another length.
            CommandError: the node does not give it.
        """
        known = self._read.get((level, index))
        if known is not None:
            return known
        width = tile_width(self._size, level, index)
        content = self._fetch(Tile(level, index, width))
        if len(content) != width * HASH_BYTES:
            raise InvalidProof(f"tile {level}/{index} has {len(content)} bytes")
        self._read[level, index] = content
        return content

    def entries_from(self, first: int) -> Iterator[bytes]:
        """Yield the entries from index `first` on; one bundle of them is held at a time.

        Raises:
            DecodeError: a bundle is malformed.
            CommandError: the node does not give one.
        """
        for tile in entry_tiles(first, self._size):
            entries = decode_entries(self._fetch(tile), tile.width)
            yield from entries[max(0, first - tile.index * TILE_WIDTH) :]

    def _fetch(self, tile: Tile) -> bytes:
        try:
            return self._client.tile(tile.path)
        except ApiProblem as problem:
            if problem.code != "no_such_tile":
                raise
            raise CommandError(
                f"the node has no {tile.path}, although its checkpoint covers it",
                hint="Ask another node.",
                code="no_such_tile",
                exit_code=ExitCode.NOT_ESTABLISHED,
            ) from None


def look(client: NodeClient, view: TrustedView, file: Path, *, with_entries: bool) -> Look:
    """Compare the newest checkpoint of a node with the one in `file`, and keep what extends it, or is the first.

    That a contradiction's evidence cannot be written hides no contradiction: the look tells both.

    Raises:
        CommandError: the file is no checkpoint of this log, or what the node shows is false.
        NotEstablishedError: no quorum vouches for the node's checkpoint.
        OSError: what is to be kept cannot be written.
    """
    kept = load_kept(file, view.chain_id)
    try:
        found = _compare(client, view, kept, with_entries)
    except (DecodeError, InvalidProof) as error:
        raise CommandError(
            f"what the node shows is false: {error}",
            hint=f"This shows nothing of the log; {file} stays. Ask another node.",
            code="proof_false",
            exit_code=ExitCode.REFUSED,
        ) from None
    if found.keeps:
        write_output(file, found.signed.encode(), mode=_PUBLIC)
    if found.outcome == "contradicts":
        return write_evidence(file, found)
    return found


def load_kept(file: Path, chain_id: str) -> SignedCheckpoint | None:
    """Return the checkpoint that was kept; None where there is no file yet.

    Raises:
        CommandError: it is not a checkpoint, or of another log.
    """
    try:
        if not file.exists():
            return None
        signed = SignedCheckpoint.parse(read_bytes(file, MAX_NOTE_BYTES))
    except OSError as error:
        raise CommandError(f"cannot read {file}: {error.strerror}") from None
    except DecodeError as error:
        raise CommandError(f"{file} is not a checkpoint that was kept: {error}") from None
    if signed.checkpoint.origin != chain_id:
        raise CommandError(
            f"{file} is of {signed.checkpoint.origin!r}, the policy of {chain_id!r}",
            hint="Keep a file for each network.",
        )
    return signed


def write_evidence(file: Path, found: Look) -> Look:
    """Write both notes and what shows that they contradict each other beside the kept file; return the look with where.

    Each fork from what was kept has its own files; what was found first of it stays. What cannot be written is told
    in the look.
    """
    assert found.kept is not None and found.growth is not None, "nothing else contradicts"
    contents = (found.kept.encode(), found.growth.encode(), found.signed.encode())
    kept_root, new_root = (
        signed.checkpoint.root.hex()[:16] for signed in (found.kept, found.signed)
    )
    stem = f"{file.name}.fork-{kept_root}-{new_root}"
    paths = tuple(file.with_name(f"{stem}.{part}") for part in ("kept", "proof", "new"))
    written = 0
    try:
        if not paths[-1].exists():  # written last: where it is, the others are, and belong to it
            for path, content in zip(paths, contents, strict=True):
                write_output(path, content, mode=_PUBLIC)
                written += 1
    except (OSError, CommandError) as error:
        because = (error.strerror if isinstance(error, OSError) else None) or str(error)
        return replace(
            found,
            evidence=paths[:written],
            unwritten=paths[written:],
            unwritten_because=because,
        )
    return replace(found, evidence=paths)


def _compare(
    client: NodeClient, view: TrustedView, kept: SignedCheckpoint | None, with_entries: bool
) -> Look:
    signed = SignedCheckpoint.parse(client.checkpoint().encode())
    new = signed.checkpoint
    changes = tuple(fetch_changes(client, view.anchor, new.size))
    as_kept = view.restarted()
    view.follow(changes, new.size)
    verified = view.verify_checkpoint(signed)
    if kept is not None and kept.checkpoint.size > new.size:
        signed_by = _cosigners(as_kept, changes, kept)
        return Look("behind", signed, verified, kept, None, 0, None, signed_by)
    tiles = NodeTiles(client, new.size)
    tree = TileTree(SHA256_ED25519, tiles.read)
    empty = Checkpoint(new.origin, 0, SHA256_ED25519.digest(b""))
    growth = verify_growth(SHA256_ED25519, empty if kept is None else kept.checkpoint, new, tree)
    if not growth.extends:
        signed_by = None if kept is None else _cosigners(as_kept, changes, kept)
        return Look(
            "contradicts", signed, verified, kept, growth, tiles.read_count, None, signed_by
        )
    entries, signed_by = None, None
    if with_entries:
        after = tiles.entries_from(growth.old.size)
        entries = verify_entries(SHA256_ED25519, growth, tree, after)
    outcome: Outcome = "extends"
    if kept is None:
        outcome = "first"
    elif kept.checkpoint == new:
        outcome, signed_by = "same", _cosigners(as_kept, changes, kept)
    return Look(outcome, signed, verified, kept, growth, tiles.read_count, entries, signed_by)


def _cosigners(
    view: TrustedView, changes: Sequence[ValidatorChange], kept: SignedCheckpoint
) -> tuple[str, ...] | None:
    """Return who vouches for the kept checkpoint under the policy of its time; None where that is not established."""
    try:
        view.follow(changes, kept.checkpoint.size)
        return view.verify_checkpoint(kept).cosigners
    except (DecodeError, InvalidProof, NotEstablishedError):
        return None


def _describe(signed: SignedCheckpoint) -> dict[str, Any]:
    return {"size": signed.checkpoint.size, "root": signed.checkpoint.root.hex()}
