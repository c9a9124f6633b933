"""Problems tell people what a parameter must look like."""

from __future__ import annotations

import pytest

from node.api.problems import described


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("^[0-9a-f]{64}$", "64 hex digits, in lower case"),
        ("^[0-9a-f]{2,64}$", "2 to 64 hex digits, in lower case"),
        ("^[0-9]{8}$", "8 digits"),
        ("^[0-9A-Z]{18}$", "18 digits and capital letters"),
        ("^(up|down)$", "one of up, down"),
        ("^[a-z]+$", "what matches ^[a-z]+$"),
    ],
)
def test_a_pattern_is_told_in_words_where_it_is_a_usual_one(pattern: str, words: str) -> None:
    assert described(pattern) == words
