"""JSON of strangers is read down to a bounded depth, and what two readers could take differently is refused."""

from __future__ import annotations

import pytest

from ledger.errors import DecodeError
from ledger.strict_json import MAX_JSON_DEPTH, json_decode


@pytest.mark.parametrize("text", ['"\\ud800"', '{"\\udfff": 1}', "[1e999]", "-1e999", "NaN"])
def test_half_characters_and_endless_numbers_are_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        json_decode(text.encode())


def test_whole_characters_are_read_however_they_are_written() -> None:
    assert json_decode(b'"\\ud83d\\ude00 \xe6\x9d\x8e"') == "😀 李"


@pytest.mark.parametrize(
    ("opening", "closing"),
    [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")],
    ids=["arrays", "objects", "both"],
)
@pytest.mark.parametrize("beside", ["", "[],{},", '"[[[[{{{{",'], ids=["", "containers", "text"])
def test_json_is_read_down_to_its_deepest_level_and_no_further(
    opening: str, closing: str, beside: str
) -> None:
    each = opening.count("[") + opening.count("{")
    for levels in range(1, 40 // each):
        text = f"[{beside}{opening * levels}1{closing * levels}]".encode()
        if 1 + levels * each < MAX_JSON_DEPTH:
            json_decode(text)
        else:
            with pytest.raises(DecodeError, match="nested"):
                json_decode(text)


@pytest.mark.parametrize(
    "text", ["[" * 100_000 + "]" * 100_000, '{"a":' * 50_000 + "1" + "}" * 50_000]
)
def test_json_deeper_than_python_can_follow_is_refused(text: str) -> None:
    with pytest.raises(DecodeError, match="nested"):
        json_decode(text.encode())


def test_another_depth_can_be_asked_for() -> None:
    assert json_decode(b"[[1]]", max_depth=3) == [[1]]
    with pytest.raises(DecodeError, match="deeper than 2 levels"):
        json_decode(b"[[1]]", max_depth=2)
