"""Reads a department's statement of responsibilities: plain text in numbered paragraphs.

`decode_statement` turns a file's bytes into text, `parse_statement` finds the paragraphs. The
numbering that comes first in the text is that of the paragraphs; any other numbering is nested in
them. Of all markers in that style the longest ascending chain is taken, so that a reference that
looks like a marker does not break it. A number that occurs again at the same indentation stays
visible as a paragraph of its own; importing such a statement is refused.

Whatever belongs to no paragraph (title, navigation, chapter headings, what follows the list) is
kept as `unnumbered`.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from directory.catch_all import is_catch_all
from directory.markers import Marker, find_markers, trailing_heading
from directory.numerals import MAX_DIGITS
from ledger.codec import Value
from ledger.errors import LedgerError

MAX_STATEMENT_BYTES: Final = 10 * 1024 * 1024
"""A thousand times the length of a real statement; what is larger is another kind of file."""

MAX_MARKERS: Final = 50_000
MAX_PARAGRAPHS: Final = 2_000
"""The longest law has 1,260 articles."""

MAX_TITLE_CHARACTERS: Final = 200
MAX_HEADINGS: Final = 3
"""Part, chapter, section: headings that may stand between two articles."""


class InvalidStatement(LedgerError):
    """A file is no statement: not text, too large, or too many numbers."""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """One numbered paragraph: its number, its first clause or heading, its text without the
    number."""

    number: int
    title: str
    text: str
    catch_all: bool


@dataclass(frozen=True, slots=True)
class Statement:
    """The numbered paragraphs in the order of the text, and all other lines."""

    responsibilities: tuple[Paragraph, ...]
    unnumbered: tuple[str, ...]

    def to_value(self) -> dict[str, Value]:
        """Return the statement as the map that JSON output shows."""
        return {
            "responsibilities": [
                {
                    "number": paragraph.number,
                    "title": paragraph.title,
                    "text": paragraph.text,
                    "catch_all": paragraph.catch_all,
                }
                for paragraph in self.responsibilities
            ],
            "unnumbered": list(self.unnumbered),
        }


_CONTROL: Final = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]")
_LINE_END: Final = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_ANY_LINE_END: Final = re.compile("\r\n?|[\n\x0b\x0c\x85\u2028\u2029]")
_BLANK_RUN: Final = re.compile("\n{3,}")
_INVISIBLE: Final = re.compile("[\ufeff\u200b\u2060]")


def decode_statement(data: bytes) -> str:
    """Decode a file: UTF-8, UTF-16 with its byte order mark, or GB 18030.

    Raises:
        InvalidStatement: too large, or in none of these encodings.
    """
    if len(data) > MAX_STATEMENT_BYTES:
        raise InvalidStatement(f"{len(data)} bytes; a statement has at most {MAX_STATEMENT_BYTES}")
    encodings = ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8", "gb18030")
    for encoding in encodings:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError as error:
            problem = f"byte {error.start + 1} is not {encoding.upper()}"
    raise InvalidStatement(f"not a text file in UTF-8, UTF-16 or GB 18030: {problem}")


def parse_statement(text: str) -> Statement:
    """Find the numbered paragraphs of a statement; there may be none.

    Raises:
        InvalidStatement: control characters, or more numbers than any statement has.
    """
    if len(text) > MAX_STATEMENT_BYTES:
        raise InvalidStatement(f"more than {MAX_STATEMENT_BYTES} characters")
    control = _CONTROL.search(text)
    if control is not None:
        line = len(_ANY_LINE_END.findall(text, 0, control.start())) + 1
        raise InvalidStatement(f"line {line} holds a control character; this is not plain text")
    text = _INVISIBLE.sub("", _LINE_END.sub("\n", text)).replace("\t", "    ")
    text = _BLANK_RUN.sub("\n\n", text)
    markers = []
    for marker in find_markers(text):
        markers.append(marker)
        if len(markers) > MAX_MARKERS:
            raise InvalidStatement(f"more than {MAX_MARKERS} numbers; this is not a statement")
    markers.sort(key=lambda marker: marker.start)
    start, end, chosen = _paragraph_markers(text, markers)
    if len(chosen) > MAX_PARAGRAPHS:
        raise InvalidStatement(f"{len(chosen)} numbered paragraphs, at most {MAX_PARAGRAPHS}")
    return _assemble(text, start, end, chosen, frozenset(marker.start for marker in markers))


# --- which markers number the paragraphs -------------------------------------------------------


_DUTIES_HEADING: Final = re.compile(r"[^\n。；;.]{0,20}(?:职责|职能)[^\n。；;.]{0,6} {0,9}\n")


def _paragraph_markers(text: str, markers: Sequence[Marker]) -> tuple[int, int, list[Marker]]:
    """Return the part of the text that holds the paragraphs, and their markers.

    A heading such as 一、主要职责 with （一）, （二） … below it is no paragraph: then those below it are.
    """
    chosen = _choose(markers)
    if chosen and chosen[0].style == "chinese_comma":
        starts = [marker.start for marker in markers]
        ends = [*(marker.start for marker in chosen[1:]), len(text)]
        for marker, end in zip(chosen, ends, strict=True):
            heading = _DUTIES_HEADING.match(text, marker.end, end)
            below = bisect_right(starts, marker.start)
            if heading is None or below == len(markers) or starts[below] >= end:
                continue
            if not text[heading.end() : starts[below]].strip(_BLANK):
                return heading.end(), end, _choose(markers[below : bisect_left(starts, end)])
    return 0, len(text), chosen


def _choose(markers: Sequence[Marker]) -> list[Marker]:
    """Return the markers of the paragraphs: the numbering that comes first, or that of articles
    where it is longer."""
    groups: dict[str, list[Marker]] = {}
    for marker in markers:
        groups.setdefault(_numbering(marker), []).append(marker)
    chains = {name: _longest_chain(members) for name, members in groups.items()}
    found = {name: chain for name, chain in chains.items() if chain}
    if not found:
        return []
    first = min(found, key=lambda name: found[name][0].start)
    chain = found[first]
    if first != "article":
        chain = _with_repetitions(groups[first], chain)
    chain = _with_other_styles(markers, chain)
    articles = found.get("article", [])
    if len(articles) > len(chain) and sum(marker.line_start for marker in articles) > 1:
        return _with_other_styles(markers, articles)
    return chain


def _numbering(marker: Marker) -> str:
    """Return the name of the numbering that a marker belongs to: ordinals translate article
    numbers."""
    return "article" if marker.style == "ordinal" else marker.style


_ITEM_SCORE: Final = 100
_GAP_PENALTY: Final = 10
_INDENTATION_PENALTY: Final = 5
_ORDINAL_PENALTY: Final = 3
_INLINE_PENALTY: Final = 2
_LATE_START_PENALTY: Final = 1


@dataclass(slots=True)
class _Best:
    """Best chains so far by their last number, with prefix maxima: a Fenwick tree over the
    numbers."""

    tree: list[tuple[int, int]]

    @staticmethod
    def empty() -> _Best:
        return _Best([(0, -1)] * 10**MAX_DIGITS)

    def add(self, number: int, score: int, index: int) -> None:
        while number < len(self.tree):
            if score > self.tree[number][0]:
                self.tree[number] = (score, index)
            number += number & -number

    def up_to(self, number: int) -> tuple[int, int]:
        best = (0, -1)
        while number > 0:
            if self.tree[number][0] > best[0]:
                best = self.tree[number]
            number -= number & -number
        return best


def _longest_chain(members: Sequence[Marker]) -> list[Marker]:
    """Return the best ascending chain of markers of one kind, in time n log n.

    Each number may follow the one before it; a gap is allowed at line starts only, and not for an
    ordinal in a list of ordinals. A chain begins at a line start, or with an article after a
    sentence; where there are articles, with one of them or before them.
    """
    scores: list[int] = []
    previous: list[int] = []
    exact: dict[int, int] = {}  # number → index of the best chain that ends with it
    ordinals: dict[int, int] = {}  # the last ordinal of each number, whatever its chain
    line_ordinal = -1  # the last ordinal at a line start
    article_seen = False
    best_of_all = _Best.empty()
    for index, marker in enumerate(members):
        options = []
        begins = marker.line_start or marker.style == "article"
        if begins and not (marker.style == "ordinal" and article_seen):
            options.append((-_LATE_START_PENALTY if marker.number > 1 else 0, -1))
        before = exact.get(marker.number - 1)
        if before is not None and not _is_nested_ordinal(members, before, marker, ordinals):
            changed = marker.line_start and members[before].indentation != marker.indentation
            options.append((scores[before] - (_INDENTATION_PENALTY if changed else 0), before))
        if marker.line_start:
            score, smaller = best_of_all.up_to(marker.number - 1)
            if smaller >= 0 and not _is_in_list(members, smaller, marker, line_ordinal):
                options.append((score - _GAP_PENALTY, smaller))
        if marker.style == "ordinal":
            ordinals[marker.number] = index
            line_ordinal = index if marker.line_start else line_ordinal
        article_seen = article_seen or marker.style == "article"
        score, predecessor = max(options, default=(-_ITEM_SCORE, -1))
        score += _ITEM_SCORE
        score -= 0 if marker.line_start else _INLINE_PENALTY
        score -= _ORDINAL_PENALTY if marker.style == "ordinal" else 0
        scores.append(score)
        previous.append(predecessor)
        if score <= 0:
            continue
        known = exact.get(marker.number)
        if known is None or score > scores[known]:
            exact[marker.number] = index
            best_of_all.add(marker.number, score, index)
    if not scores or max(scores) <= 0:
        return []
    chain = []
    index = scores.index(max(scores))
    while index >= 0:
        chain.append(members[index])
        index = previous[index]
    return chain[::-1]


def _is_nested_ordinal(
    members: Sequence[Marker], before: int, marker: Marker, ordinals: dict[int, int]
) -> bool:
    """Tell whether an ordinal continues a list of ordinals in the article before it, not the
    articles."""
    if marker.style != "ordinal" or members[before].style == "ordinal":
        return False
    return ordinals.get(marker.number - 1, -1) > before


def _is_in_list(members: Sequence[Marker], before: int, marker: Marker, line_ordinal: int) -> bool:
    """Tell whether an ordinal after a gap stands among other ordinals in the article before it."""
    if marker.style != "ordinal" or members[before].style == "ordinal":
        return False
    return line_ordinal > before


def _with_repetitions(members: Sequence[Marker], chain: Sequence[Marker]) -> list[Marker]:
    """Return the chain with every other number at a line start and at its indentation, from its
    beginning on."""
    kept = {marker.start for marker in chain}
    indentation = chain[0].indentation
    return [
        marker
        for marker in members
        if marker.start in kept
        or (
            marker.line_start
            and marker.indentation == indentation
            and marker.start > chain[0].start
        )
    ]


def _with_other_styles(markers: Sequence[Marker], chain: Sequence[Marker]) -> list[Marker]:
    """Return the chain with the paragraphs that continue its numbers in another style, as in (1)
    （二） Article 3.

    A nested list is told by its beginning: its number before stands in the same paragraph.
    """
    starts = [marker.start for marker in markers]
    result: list[Marker] = []
    for index, marker in enumerate(chain):
        result.append(marker)
        following = chain[index + 1] if index + 1 < len(chain) else None
        stop = len(markers) if following is None else bisect_left(starts, following.start)
        limit = 10**MAX_DIGITS if following is None else following.number
        inside: set[tuple[str, int]] = set()
        for other in markers[bisect_right(starts, marker.start) : stop]:
            last = result[-1]
            if (
                other.line_start
                and other.number == last.number + 1 < limit
                and other.indentation <= last.indentation
                and _numbering(other) != _numbering(marker)
                and (_numbering(other), last.number) not in inside
            ):
                result.append(other)
                inside.clear()
            else:
                inside.add((_numbering(other), other.number))
    return result


# --- from markers to paragraphs ----------------------------------------------------------------


_BLANK: Final = " \u3000\xa0\n"
_AFTER_NUMBER: Final = _BLANK + ".．:：、,，—–-"
_BRACKETED_TITLE: Final = re.compile(
    r"(?:[(（]([^()（）\n]{1,100})[)）]|[【〔\[]([^【】〔〕\[\]\n]{1,100})[】〕\]])"
    "[ \u3000]{0,9}(?:\n|(?=[A-Z【\u4e00-\u9fff]))"
)
_CLAUSE_END: Final = re.compile(
    r"[;:.!?](?=[ \n\"')”]|\Z)|[，；：。！？]|\n(?=[(（0-9０-９①-⑳]|[一二三四五六七八九十]{1,3}、)"
)
_BLANK_LINES: Final = re.compile("\n[ \u3000\xa0\n]*\n")
_SENTENCE_DONE: Final = frozenset('.。!！?？)）"”')


def _assemble(
    text: str, start: int, end: int, markers: Sequence[Marker], any_marker: frozenset[int]
) -> Statement:
    unnumbered = _lines(text[:start])
    if not markers:
        return Statement((), (*unnumbered, *_lines(text[start:end]), *_lines(text[end:])))
    unnumbered += _lines(text[start : markers[0].start])
    paragraphs = []
    ends = [*(marker.start for marker in markers[1:]), end]
    for marker, stop in zip(markers, ends, strict=True):
        cut = _without_headings(text, marker.end, stop)
        if stop == end and marker.style not in ("article", "ordinal"):
            cut = min(cut, _list_end(text, markers, end, any_marker))
        paragraphs.append(_paragraph(marker, text[marker.end : cut]))
        unnumbered += _lines(text[cut:stop])
    return Statement(tuple(paragraphs), (*unnumbered, *_lines(text[end:])))


def _without_headings(text: str, start: int, end: int) -> int:
    """Return where a paragraph ends that headings of the next chapter and section may follow."""
    for _ in range(MAX_HEADINGS):
        stripped = start + len(text[start:end].rstrip(_BLANK))
        heading = trailing_heading(text, start, stripped)
        if heading in (stripped, start):
            break
        end = heading
    return end


def _list_end(text: str, markers: Sequence[Marker], end: int, any_marker: frozenset[int]) -> int:
    """Return where the last paragraph of a list ends, as opposed to a page's foot.

    Where every paragraph before is one line, so is the last; else it ends at the first blank line
    after a sentence. Nested items still belong to it.
    """
    start = _skip_blank(text, markers[-1].end, end)
    cut = end
    if len(markers) > 1 and _all_one_line(text, markers):
        newline = text.find("\n", start, end)
        cut = end if newline < 0 else newline
    else:
        for blank in _BLANK_LINES.finditer(text, start, end):
            if text[blank.start() - 1] in _SENTENCE_DONE:
                cut = blank.start()
                break
    return end if _skip_blank(text, cut, end) in any_marker else cut


def _all_one_line(text: str, markers: Sequence[Marker]) -> bool:
    return all(
        "\n" not in text[before.end : after.start].strip(_BLANK)
        for before, after in pairwise(markers)
    )


def _skip_blank(text: str, start: int, end: int) -> int:
    """Return the first position from `start` on that is not blank, or `end`."""
    match = _NOT_BLANK.search(text, start, end)
    return end if match is None else match.start()


_NOT_BLANK: Final = re.compile("[^ \u3000\xa0\n]")


def _paragraph(marker: Marker, raw: str) -> Paragraph:
    body = raw.lstrip(_AFTER_NUMBER)
    title = None
    if marker.style == "article":
        match = _BRACKETED_TITLE.match(body)
        if match is not None:
            title = match[1] or match[2]
            body = body[match.end() :]
    text = "\n".join(_lines(body))
    if title is None:
        title = _first_clause(text)
    return Paragraph(marker.number, title.strip(_BLANK), text or title, is_catch_all(text))


def _first_clause(text: str) -> str:
    """Return the first clause, without its punctuation.

    An English comma mostly separates the parts of an enumeration ("promote, guide and supervise"),
    so there the clause is
    the sentence, or as much of it as a title holds, up to a comma or else a word.
    """
    match = _CLAUSE_END.search(text, 1)
    clause = (text if match is None else text[: match.start()]).replace("\n", " ")
    if len(clause) <= MAX_TITLE_CHARACTERS:
        return clause
    clause = clause[: MAX_TITLE_CHARACTERS - 1]
    for separator in (", ", " "):
        cut = clause.rfind(separator, MAX_TITLE_CHARACTERS // 4)
        if cut > 0:
            return f"{clause[:cut]}…"
    return f"{clause}…"


def _lines(text: str) -> tuple[str, ...]:
    """Return the lines that are not blank, without the spaces around them."""
    stripped = (line.strip(_BLANK) for line in text.split("\n"))
    return tuple(line for line in stripped if line)
