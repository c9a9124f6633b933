"""Recognises catch-all clauses: "other tasks that … assigns" and the like, which name no task and
so justify nothing.

Validators run this: a responsibility that is one must be marked as one. A text counts as a
catch-all clause when every sentence of it is one, so that a real responsibility that ends with such
a clause is left alone. The words are those of English and Chinese statements; ASCII classes only,
and time linear in the text.
"""

from __future__ import annotations

import re
from typing import Final

MAX_CLAUSE_WORDS: Final = 48
MAX_CLAUSE_CHARACTERS: Final = 400
"""Longer sentences describe something; the clause itself is short, even with the assigning bodies'
full names."""

_SENTENCE_END: Final = re.compile(r"[.!?;](?=[ \n]|\Z)|[。！？；]")
_WORD: Final = re.compile(r"[a-z]+|,")
_NOUN: Final = re.compile(
    r"(?:task|matter|work|assignment|function|affair|item|job|mission|undertaking)s?"
    r"|dut(?:y|ies)|responsibilit(?:y|ies)"
)
_ASSIGNED: Final = re.compile(
    r"assigned|entrusted|delegated|given|handed|allocated|arranged|designated|directed|instructed"
    r"|ordered|requested|prescribed|stipulated|provided|specified|required|authori[sz]ed|conferred"
)
_ASSIGN: Final = re.compile(
    r"(?:assign|entrust|give|hand|allocate|arrange|designate|direct|instruct|order|request"
    r"|delegate|prescribe|stipulate|specify|require|confer)s?|specifies|authori[sz]es?"
)
_RELATIVE: Final = frozenset({"that", "which", "as"})
_MAX_WORDS_BEFORE_OTHER: Final = 9
_MAX_WORDS_BEFORE_NOUN: Final = 3
_MAX_WORDS_BEFORE_ASSIGNED: Final = 5

_OTHER: Final = "(?:其他|其它|其余)"
_BY: Final = "(?:交办|交付|交给|委托|指派|安排|布置|赋予|授权|下达|规定)"
_TASKS: Final = "(?:事项|任务|工作|职责|事务|职能|事宜)"
_CHINESE_CLAUSE: Final = re.compile(
    f"{_BY}[^，,]{{0,4}}{_OTHER}[^，,]{{0,8}}{_TASKS}|{_OTHER}[^，,]{{0,24}}{_BY}[^，,]{{0,4}}{_TASKS}"
)
_MAX_CHINESE_CHARACTERS: Final = 60


def is_catch_all(text: str) -> bool:
    """Tell whether a responsibility's text is a catch-all clause."""
    sentences = [part for part in _SENTENCE_END.split(text) if part.strip(" \n\t\u3000")]
    return bool(sentences) and all(_is_catch_all_clause(sentence) for sentence in sentences)


def _is_catch_all_clause(sentence: str) -> bool:
    if len(sentence) > MAX_CLAUSE_CHARACTERS:
        return False
    if len(sentence) <= _MAX_CHINESE_CHARACTERS and _CHINESE_CLAUSE.search(sentence):
        return True
    words = _WORD.findall(_lower(sentence))
    if len(words) > MAX_CLAUSE_WORDS:
        return False
    before = words[: _MAX_WORDS_BEFORE_OTHER + 1]
    if "," in before:  # something is named before the clause
        before = before[: before.index(",")]
    return "other" in before and _names_nothing(words[before.index("other") + 1 :])


def _names_nothing(words: list[str]) -> bool:
    """Tell whether what follows "other" is only a task that somebody assigns."""
    for position, word in enumerate(words[: _MAX_WORDS_BEFORE_NOUN + 1]):
        if word == ",":
            return False
        if _NOUN.fullmatch(word):
            rest = words[position + 1 :]
            if any(map(_ASSIGNED.fullmatch, rest[: _MAX_WORDS_BEFORE_ASSIGNED + 1])):
                return True
            if rest[:1] and rest[0] in _RELATIVE:
                return any(_ASSIGN.fullmatch(later) or _ASSIGNED.fullmatch(later) for later in rest)
    return False


_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def _lower(text: str) -> str:
    """Lower-case ASCII letters only, whatever Unicode version Python has."""
    return text.translate(_LOWER)
