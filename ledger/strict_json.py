"""JSON that others have written, read strictly: in one way only, and no deeper than can be walked.

Python's own reader takes NaN, a name twice and half a character, and fails at some depth with an error that is not of
JSON. Whoever bounds the size of what is read here has bounded everything.
"""

from __future__ import annotations

import json
import math
from typing import Final, NoReturn, TypeAlias

from ledger.errors import DecodeError

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

MAX_JSON_DEPTH: Final = 16
"""As deep as the ledger's own values may be nested."""


def json_decode(data: bytes, *, max_depth: int = MAX_JSON_DEPTH) -> Json:
    """Read one JSON value: UTF-8, whole characters, no duplicate names, no NaN or infinity, bounded depth.

    Raises:
        DecodeError: anything else.
    """
    try:
        value: Json = _JSON.decode(data.decode("utf-8"))
        if b"\\u" in data:  # an escape may write half a character, which nothing can store or show
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise DecodeError(f"not JSON: nested deeper than {max_depth} levels") from None
    except ValueError as error:
        raise DecodeError(f"not JSON: {error}") from None
    if data.count(b"[") + data.count(b"{") >= max_depth:  # else there is too little to nest
        _check_depth(value, max_depth, max_depth)
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise DecodeError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise DecodeError("a number is too large")
    return value


def _distinct_names(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise DecodeError("a name stands twice in a JSON object")
    return result


_JSON: Final = json.JSONDecoder(
    object_pairs_hook=_distinct_names, parse_constant=_refuse_constant, parse_float=_finite
)


def _check_depth(value: Json, left: int, depth: int) -> None:
    if left == 0:
        raise DecodeError(f"JSON nested deeper than {depth} levels")
    if isinstance(value, dict):
        for part in value.values():
            _check_depth(part, left - 1, depth)
    elif isinstance(value, list):
        for part in value:
            _check_depth(part, left - 1, depth)
