"""Transcripts: command, `----`, what came of it. They are the tests of the engine's rules, and their examples.

A file under testdata/ is read block by block: lines that begin with `#` say why, one line is the command, and the
lines between `----` and the next empty line are what it must print. `driver NAME`, `keeper` or `network` begins a new
subject, to which the commands after it speak. Set MULU_REWRITE=1 to write what was printed into the files instead,
and read the difference.

A comment such as `# line 36, step prevote: …` or `# rule never-unlock: …` is a marker: it says which lines of
Algorithm 1 of arXiv 1807.04938, or which rule of the engine, the commands below it show. docs/CONSENSUS.md lists them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.consensus.network_transcript import NetworkTranscript
from tests.consensus.transcripts import Arguments, DriverTranscript, KeeperTranscript

TESTDATA = Path(__file__).parent / "testdata"

_MARKER = re.compile(r"# (?P<kind>line|rule) (?P<name>[^:]+): (?P<text>.+)")
_LINES = re.compile(r"([0-9]+)(?:-([0-9]+))?(?:, .+)?")


class Subject(Protocol):
    """Whom a transcript speaks to."""

    def command(self, name: str, arguments: Arguments) -> list[str]: ...


def run(path: Path) -> tuple[str, str]:
    """Run a transcript; return the file's text and the text as it would be rewritten."""
    text = path.read_text()
    subject: Subject | None = None
    blocks = []
    for block in text.strip("\n").split("\n\n"):
        lines = block.split("\n")
        comments = [line for line in lines if line.startswith("#")]
        commands = lines[len(comments) :]
        if not commands:
            blocks.append(block)
            continue
        name, _, rest = commands[0].partition(" ")
        arguments = Arguments.of(rest)
        printed = []
        if name in ("driver", "keeper", "network"):
            subject = _subject(name, arguments)
        else:
            assert subject is not None, f"{path}: begin with `driver NAME`, `keeper` or `network`"
            printed = subject.command(name, arguments)
        blocks.append("\n".join([*comments, commands[0], "----", *printed]))
    return text, "\n\n".join(blocks) + "\n"


def _subject(name: str, arguments: Arguments) -> Subject:
    n = arguments.number("n", 4)
    match name:
        case "driver":
            return DriverTranscript(arguments.words[0], n, arguments.number("height", 1))
        case "keeper":
            return KeeperTranscript(n)
        case _:
            return NetworkTranscript(n)


@dataclass(frozen=True, slots=True)
class Marker:
    """What a transcript says it shows: `kind` is line or rule, `name` is `36, step prevote` or `never-unlock`."""

    kind: str
    name: str
    text: str
    transcript: str

    @property
    def lines(self) -> range:
        """The lines of the paper that it names; none for a rule."""
        match = _LINES.fullmatch(self.name) if self.kind == "line" else None
        if match is None:
            assert self.kind == "rule", f"{self.transcript}: no lines in {self.name!r}"
            return range(0)
        return range(int(match[1]), int(match[2] or match[1]) + 1)


def markers() -> Iterator[Marker]:
    """Yield every marker of every transcript, in the order of the files. A comment may go on in the next lines."""
    for path in sorted(TESTDATA.glob("*.txt")):
        lines = path.read_text().splitlines()
        for i, line in enumerate(lines):
            match = _MARKER.fullmatch(line)
            if match is not None:
                text = _sentence([match["text"], *_comments_after(lines, i)])
                yield Marker(match["kind"], match["name"], text, path.stem)


def _comments_after(lines: list[str], index: int) -> Iterator[str]:
    for line in lines[index + 1 :]:
        if not line.startswith("# ") or _MARKER.fullmatch(line):
            return
        yield line.removeprefix("# ")


def _sentence(lines: list[str]) -> str:
    """Return the first sentence of a comment."""
    return re.split(r"(?<=[.…]) ", " ".join(lines))[0]


def table(kind: str) -> str:
    """Return the table of docs/CONSENSUS.md for markers of a kind: lines by number, rules by name."""
    chosen = [marker for marker in markers() if marker.kind == kind]
    chosen.sort(key=lambda marker: (marker.lines.start, marker.lines.stop, marker.name))
    rows = [f"| {m.name} | {m.text} | `{m.transcript}` |" for m in chosen]
    head = f"| {kind} | what is shown | transcript |"
    return "\n".join([head, "|---|---|---|", *rows])
