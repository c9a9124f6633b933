"""From what people type to values and validated operation bodies, with errors that name what is wrong."""

from __future__ import annotations

import datetime
import json
import os
import re
import stat
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

from pydantic import BaseModel, ValidationError

from cli.output import CommandError
from ledger.errors import DecodeError
from ledger.problems import first_problem
from ledger.strict_json import json_decode

Model = TypeVar("Model", bound=BaseModel)

MAX_FILE_BYTES: Final = 8 * 1024 * 1024
"""Of a file whose kind has no bound of its own: licenses, requests and consents have some kilobytes."""

MAX_FILE_DEPTH: Final = 32
"""Of JSON: a value of the ledger, sixteen levels deep at most, in what a file puts around it."""

_DURATION: Final = re.compile(r"([0-9]{1,6})([smhd])", re.ASCII)
_UNIT_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def build(model: type[Model], **fields: Any) -> Model:
    """Return a body with these fields (JSON values: bytes as hex); those that are None are left out.

    Raises:
        CommandError: a field is not what the model wants.
    """
    return build_from(model, {name: value for name, value in fields.items() if value is not None})


def build_from(model: type[Model], document: object, *, where: str = "") -> Model:
    """Return a body from a JSON document; `where` says where it came from.

    Raises:
        CommandError: the document is not what the model wants.
    """
    try:
        return model.model_validate_json(json.dumps(document))
    except ValidationError as error:
        prefix = f"{where}: " if where else ""
        raise CommandError(prefix + first_problem(error, whole="body")) from None


def pairs(texts: list[str], form: str) -> list[tuple[str, str]]:
    """Return `NAME=VALUE` texts as pairs.

    Raises:
        CommandError: no `=`, or a name occurs twice.
    """
    result: list[tuple[str, str]] = []
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise CommandError(f"{text!r} is not of the form {form}")
        if name in dict(result):
            raise CommandError(f"{name} is given twice")
        result.append((name, value))
    return result


def now_ms() -> int:
    """Return this machine's time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def date_ms(text: str) -> int:
    """Return a date or time in UTC as milliseconds since the epoch.

    Raises:
        CommandError: neither.
    """
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(
            f"{text!r} is not a date", hint="Write YYYY-MM-DD or YYYY-MM-DDThh:mm:ssZ."
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return int(moment.timestamp() * 1000)


def read_bytes(path: Path, limit: int = MAX_FILE_BYTES) -> bytes:
    """Return the content of a regular file, which is no longer than `limit` bytes.

    A pipe may wait for ever for somebody to write to it, and reading a device may change what it does.

    Raises:
        CommandError: it cannot be read, is longer, or no regular file.
    """
    try:
        # Without O_NONBLOCK the opening of a pipe already waits.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise CommandError(f"{path} is no regular file", hint="Save it to a file first.")
            return read_bounded(file, str(path), limit)
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise CommandError(f"cannot read {path}: {_reason(error)}") from None


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def read_json(path: Path, what: str) -> Any:
    """Return the JSON value that a file holds; `what` it should be, for people.

    Raises:
        CommandError: it cannot be read, is longer than `MAX_FILE_BYTES`, not JSON, or nested too deeply.
    """
    try:
        return json_decode(read_bytes(path), max_depth=MAX_FILE_DEPTH)
    except DecodeError as error:
        raise CommandError(f"{path} is not {what}: {error}") from None


def read_input() -> bytes:
    """Return what comes in on standard input.

    Raises:
        CommandError: it is closed, or longer than `MAX_FILE_BYTES`.
    """
    if sys.stdin is None:
        raise CommandError("standard input is closed")
    return read_bounded(sys.stdin.buffer, "standard input")


def read_bounded(file: BinaryIO, name: str, limit: int = MAX_FILE_BYTES) -> bytes:
    """Return what an open file or stream holds. No more of it is read than one byte beyond `limit`.

    Raises:
        CommandError: it is longer.
        OSError: it cannot be read.
    """
    data = file.read(limit + 1)
    if len(data) <= limit:
        return data
    whole = os.fstat(file.fileno()).st_size  # of a stream, 0
    size = f"{whole} bytes" if whole > limit else f"more than {limit} bytes"
    raise CommandError(f"{name} is too large: {size}, at most {limit} are read")


def duration_ms(text: str) -> int:
    """Return a duration such as 90d, 12h, 30m or 45s in milliseconds.

    Raises:
        CommandError: of another form.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise CommandError(f"{text!r} is not a duration", hint="Write 90d, 12h, 30m or 45s.")
    return int(found[1]) * _UNIT_MS[found[2]]


def use_id_of(text: str) -> bytes:
    """Return the id of a use (32 bytes).

    Raises:
        CommandError: not 64 hexadecimal digits.
    """
    return _hash(text, f"{text!r} is not the id of a use")


def handle_of(text: str) -> bytes:
    """Return the handle of a license (32 bytes).

    Raises:
        CommandError: not 64 hexadecimal digits.
    """
    return _hash(text, f"{text!r} is not the handle of a license")


def _hash(text: str, problem: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != 32:
        raise CommandError(problem, hint="Expected 64 hex digits.")
    return value
