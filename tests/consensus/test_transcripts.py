"""Every transcript under testdata/ prints what it says it prints."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.consensus.transcripts import run

DIRECTORY = Path(__file__).parent / "testdata"


@pytest.mark.parametrize("path", sorted(DIRECTORY.glob("*.txt")), ids=lambda path: path.stem)
def test_transcript_prints_what_it_says(path: Path) -> None:
    expected, printed = run(path)
    if os.environ.get("MULU_REWRITE"):
        path.write_text(printed)
    else:
        assert printed == expected
