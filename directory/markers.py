"""Finds what may begin a numbered paragraph: `(1)`, `（一）`, `1、`, `Article 5`, `第五条`, `The fifth`.

A marker stands at the beginning of a line. Those of articles, and numbers in parentheses, may also
follow the end of a sentence (articles a chapter's heading, too), since published pages often lose
their line breaks. What reads as a
reference ("under Article 5 of the Law", "第五条规定的") is none. Whether a marker begins a paragraph
of the statement or a nested item is for `statement` to tell.

Time is linear in the text: every pattern has bounded repetitions only, every look around is
bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final, Literal, cast

from directory.numerals import (
    CARDINALS,
    CHINESE_NUMERALS,
    FULL_WIDTH_DIGITS,
    ORDINALS,
    chinese_value,
    digits_value,
    english_value,
)

Style = Literal[
    "article",  # Article 5, 第五条
    "ordinal",  # The fifth department …, Tenth the …: machine translations of 第五条
    "adverb",  # First, …
    "parenthesis",  # (1)
    "chinese_parenthesis",  # （一）
    "word_parenthesis",  # (a), (two): machine translations of （一）
    "dot",  # 1. or 1、
    "half_parenthesis",  # 1)
    "chinese_comma",  # 一、
    "circled",  # ①
]


@dataclass(frozen=True, slots=True)
class Marker:
    """A number in `style`. The marker stands at `start`; what it numbers begins at `end`.

    `line_start` tells whether only indentation stands before it on its line, and `indentation` how
    much.
    """

    style: Style
    number: int
    start: int
    end: int
    line_start: bool
    indentation: int


def _words(words: Iterable[str]) -> str:
    """Return a pattern of number words in any case, compound ones with a hyphen or a space."""
    longest_first = sorted(words, key=len, reverse=True)
    return f"(?i:{'|'.join(word.replace('-', '[ -]') for word in longest_first)})"


_DIGIT: Final = f"[0-9{FULL_WIDTH_DIGITS}]"
_CHINESE: Final = f"[{CHINESE_NUMERALS}]"
_SPACE: Final = "[ \u3000\xa0]"
_CLOSING: Final = r"[\"'”’》」』)）\]]"
_END_OF_SENTENCE: Final = rf"[.!?。！？]{_CLOSING}{{0,3}}{_SPACE}{{0,4}}"

_ARTICLE: Final = (
    rf"(?:Article|ARTICLE|Art\.){_SPACE}{{0,3}}(?P<article>{_DIGIT}{{1,4}})"
    rf"(?![0-9A-Za-z{FULL_WIDTH_DIGITS}]|[.–-]{_DIGIT})"
    rf"|(?:Article|ARTICLE) (?P<article_word>{_words(CARDINALS)})(?![A-Za-z-])"
    rf"|第 ?(?P<article_chinese>{_CHINESE}{{1,9}}|{_DIGIT}{{1,4}}) ?[条條]"
)
_ORDINAL: Final = rf"(?:(?:The|THE) {{1,3}}|(?=[A-Z]))(?P<ordinal>{_words(ORDINALS)})(?![A-Za-z-])"
_ITEM: Final = (
    rf"[(（] ?(?P<parenthesis>{_DIGIT}{{1,4}}) ?[)）]"
    rf"|[(（] ?(?P<chinese_parenthesis>{_CHINESE}{{1,9}}) ?[)）]"
    rf"|[(（] ?(?P<word_parenthesis>[A-Za-z]|{_words(CARDINALS)}) ?[)）]"
    rf"|(?P<dot>{_DIGIT}{{1,4}})(?:[.．](?!{_DIGIT})|、)"
    rf"|(?P<half_parenthesis>{_DIGIT}{{1,4}})[)）]"
    rf"|(?P<chinese_comma>{_CHINESE}{{1,9}})、"
    "|(?P<circled>[\u2460-\u2473\u2474-\u2487])"
    "|(?P<chinese_circled>[\u3220-\u3229])"
)

_AT_LINE_START: Final = re.compile(
    rf"^(?P<indentation>{_SPACE}{{0,200}})(?:{_ITEM}|{_ARTICLE}|{_ORDINAL})",
    re.ASCII | re.MULTILINE,
)
_ARTICLE_ANYWHERE: Final = re.compile(_ARTICLE, re.ASCII)
_ORDINAL_AFTER_SENTENCE: Final = re.compile(f"{_END_OF_SENTENCE}(?P<begin>){_ORDINAL}", re.ASCII)

_ITEM_AFTER_SENTENCE: Final = re.compile(
    rf"[.!?;。！？；]{_CLOSING}{{0,3}}{_SPACE}{{0,4}}(?P<begin>)(?:[(（](?P<parenthesis>{_DIGIT}{{1,4}})[)）]"
    rf"|[(（](?P<chinese_parenthesis>{_CHINESE}{{1,9}})[)）])",
    re.ASCII,
)

_STYLES: Final[dict[str, Style]] = {
    "article": "article",
    "article_word": "article",
    "article_chinese": "article",
    "chinese_circled": "chinese_parenthesis",
}
"""The style of what a pattern's group has found, where it is not the group's name."""


def find_markers(text: str) -> Iterator[Marker]:
    """Yield the markers at line starts, then those within lines; lines end with `\\n` only."""
    seen = set()
    for match in _AT_LINE_START.finditer(text):
        marker = _marker(text, match, match.end("indentation"), len(match["indentation"]), True)
        seen.add(match.end("indentation"))
        if marker is not None:
            yield marker
    for match in _ARTICLE_ANYWHERE.finditer(text):
        if match.start() not in seen and _follows_sentence(text, match.start()):
            marker = _marker(text, match, match.start(), 0, False)
            if marker is not None:
                yield marker
    for match in chain(_ORDINAL_AFTER_SENTENCE.finditer(text), _ITEM_AFTER_SENTENCE.finditer(text)):
        marker = _marker(text, match, match.start("begin"), 0, False)
        if marker is not None:
            yield marker


def _marker(
    text: str, match: re.Match[str], start: int, indentation: int, line_start: bool
) -> Marker | None:
    group = cast(str, match.lastgroup)
    style = _STYLES.get(group, cast(Style, group))
    number = _number(group, match[group])
    if number is None or number == 0:
        return None
    if style in ("article", "ordinal"):
        if line_start and _continues_line_above(text, match.start()):
            return None
        after = text[match.end() : match.end() + _LOOK_AHEAD].partition("\n")[0]
        if not line_start and not after.strip(" \u3000\xa0"):
            return None
        if style == "article" and _is_article_reference(after):
            return None
        if style == "ordinal":
            if _ORDINAL_IN_PROSE.match(after):
                return None
            if after.startswith((",", "，", ":", "：", "、")):
                if not line_start:
                    return None
                style = "adverb"
    return Marker(style, number, start, match.end(), line_start, indentation)


def _number(group: str, numeral: str) -> int | None:
    if group in ("article", "parenthesis", "dot", "half_parenthesis"):
        return digits_value(numeral)
    if group == "ordinal":
        return english_value(numeral, ORDINALS)
    if group == "article_word":
        return english_value(numeral, CARDINALS)
    if group == "word_parenthesis":
        if len(numeral) == 1:
            return ord(numeral) % 32  # a and A are 1
        return english_value(numeral, CARDINALS)
    if group in ("circled", "chinese_circled"):
        return _CIRCLED[numeral]
    return chinese_value(numeral) or digits_value(numeral)


_CIRCLED: Final = {
    chr(first + offset): offset + 1
    for first, count in ((0x2460, 20), (0x2474, 20), (0x3220, 10))
    for offset in range(count)
}

_LOOK_AHEAD: Final = 48
_LOOK_BEHIND: Final = 200
"""Characters: a chapter's heading fits; a reference is told by the word beside it."""

_SENTENCE_BEFORE: Final = re.compile(_END_OF_SENTENCE + r"\Z")
_ABBREVIATION_BEFORE: Final = re.compile(
    rf"(?:\A|[^A-Za-z])(?:cf|vs|art|arts|no|nos|sec|para|viz|e\.g|i\.e)\.{_SPACE}{{0,4}}\Z",
    re.ASCII | re.IGNORECASE,
)
_HEADING_BEFORE: Final = re.compile(
    rf"(?:\n|[.!?。！？]{_CLOSING}{{0,3}}){_SPACE}{{0,4}}"
    r"(?P<heading>(?:Chapter|CHAPTER|Section|SECTION|Part|PART) [0-9A-Za-z]{1,9}"
    r"(?![0-9A-Za-z])[^.!?。\n]{0,160}"
    rf"|第 ?(?:{_CHINESE}{{1,9}}|{_DIGIT}{{1,4}}) ?[章节節编編][^.!?。\n]{{0,60}})\Z",
    re.ASCII,
)

_HEADING_WORDS: Final = ("hapter", "HAPTER", "ection", "ECTION", "art ", "ART ", *"章节節编編")

_REFERENCE_BEFORE: Final = re.compile(
    r"(?:[,，、(（–—-]|(?:\A|[^A-Za-z])(?:under|to|with|in|of|and|or|by|per|see|the|from|for|on|than|as"
    r"|both|between|through)|[据照按依和与及或])\Z",
    re.ASCII | re.IGNORECASE,
)
"""The end of a line that breaks off before a reference."""

_PARAGRAPH_NUMBER: Final = re.compile(r" {0,3}\([0-9A-Za-z]{1,3}\)", re.ASCII)
_REFERENCE_AFTER: Final = re.compile(
    r"[,;)\]”»，；）》」』]|['’]s |[–-]"
    rf"|{_SPACE}{{0,3}}(?:of|and|or|to|through|shall|should|apply|applies|applied|above|below|hereof"
    r"|thereof|is|are|was|were|has|have|does|do|may|must|can|will|would|also|under|as|in|on|for|with"
    r"|by|paragraph|paragraphs|item|items|clause|subparagraph|provides|stipulates|states|requires)"
    r"(?![A-Za-z])"
    r"|[的、]|[和或至与及](?:第|本|《)|规定|所[称列规述指]|第|前款|前述|之[一二三四五六七八九十规]",
    re.ASCII,
)
"""What stands after an article's number where it is only referred to."""

_ORDINAL_IN_PROSE: Final = re.compile(
    rf"{_SPACE}{{1,3}}(?i:paragraph|item|article|clause|chapter|section|sentence|subparagraph|time|phase|stage"
    r"|step|category|kind|type|part|quarter|half|place|meeting|session|plenary|plenum|batch|round|edition"
    r"|floor|day|week|month|year|century|generation|instance|party|hand|level|class|congress|point"
    r"|five|of|and|or|to|is|was|are|one|thing)(?:s|ies)?(?![A-Za-z])",
    re.ASCII,
)
"""What an ordinal counts where it is an adjective like any other."""


def trailing_heading(text: str, start: int, end: int) -> int:
    """Return where a chapter's heading at the end of `text[start:end]` begins; `end` if there is
    none."""
    window = max(start, end - _LOOK_BEHIND)
    tail = text[window:end]
    if not any(word in tail for word in _HEADING_WORDS):
        return end
    before = "\n" if window == start else ""
    match = _HEADING_BEFORE.search(before + tail)
    return end if match is None else window - len(before) + match.start("heading")


def _follows_sentence(text: str, position: int) -> bool:
    """Tell whether a sentence, or a chapter's heading, ends right before `position` on its line."""
    tail = text[max(0, position - 12) : position].rpartition("\n")[2]
    if _SENTENCE_BEFORE.search(tail):
        return _ABBREVIATION_BEFORE.search(tail) is None
    return trailing_heading(text, 0, position) < position


def _continues_line_above(text: str, line_start: int) -> bool:
    """Tell whether the line above, if not blank, breaks off before a reference."""
    above = text[max(0, line_start - 1 - 24) : max(0, line_start - 1)].rpartition("\n")[2]
    return _REFERENCE_BEFORE.search(above.rstrip(" \u3000\xa0")) is not None


def _is_article_reference(after: str) -> bool:
    """Tell whether what follows an article's number, on its line, makes it a reference."""
    number = _PARAGRAPH_NUMBER.match(after)
    return _REFERENCE_AFTER.match(after, number.end() if number else 0) is not None
