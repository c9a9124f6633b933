"""The life of an entry, as transcripts: each file under testdata/ is a story with its outcome."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.directory.transcripts import run_transcript

_TESTDATA = Path(__file__).parent / "testdata"


@pytest.mark.parametrize("path", sorted(_TESTDATA.glob("*.txt")), ids=lambda path: path.stem)
def test_the_transcript_prints_what_it_says(path: Path) -> None:
    expected = path.read_text(encoding="utf-8")
    printed = run_transcript(expected)
    if os.environ.get("MULU_REWRITE"):
        path.write_text(printed, encoding="utf-8")
    assert printed == expected


def test_there_are_transcripts() -> None:
    assert len(list(_TESTDATA.glob("*.txt"))) >= 5
