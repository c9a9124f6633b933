"""An operation that fails as handlers should not: it writes, then raises what it is told to."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import field_validator

from ledger.errors import (
    DamagedStoreError,
    DecodeError,
    InvalidBlock,
    InvalidSignature,
    InvalidTransaction,
    StorageError,
)
from ledger.operations import Body, Context, Event, OperationType
from ledger.state import State, state_key

KIND = "test.planted.fail"


class Panic(BaseException):
    """What libraries written in Rust raise when they panic: no `Exception`."""


def _raise(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def _without_end() -> None:
    _without_end()


FAILS_ALONE: Mapping[str, Callable[[], object]] = {
    "ValueError": _raise(ValueError("as told")),
    "KeyError": lambda: {}["as told"],
    "IndexError": lambda: [][len(KIND)],
    "AttributeError": lambda: None.nothing,
    "AssertionError": _raise(AssertionError("as told")),
    "ZeroDivisionError": lambda: 1 // 0,
    "OverflowError": lambda: (1).to_bytes(0, "big"),
    "TypeError": lambda: 1 + "1",
    "UnicodeDecodeError": lambda: b"\xff".decode(),
    "UnicodeEncodeError": "\ud800".encode,
    "re.error": lambda: re.compile("("),
    "StopIteration": lambda: next(iter(())),
    "GeneratorExit": _raise(GeneratorExit()),
    "OSError": _raise(OSError(5, "as told")),
    "TimeoutError": _raise(TimeoutError()),
    "CancelledError": _raise(asyncio.CancelledError()),
    "ExceptionGroup": _raise(ExceptionGroup("as told", [ValueError()])),
    "pydantic ValidationError": lambda: Planted(name=1, how=()),
    "DecodeError": _raise(DecodeError("as told")),
    "InvalidBlock": _raise(InvalidBlock("as told")),
    "InvalidSignature": _raise(InvalidSignature("as told")),
    "InvalidTransaction": _raise(InvalidTransaction("malformed")),
    "a panic": _raise(Panic("as told")),
}

STOPS: Mapping[str, tuple[Callable[[], object], type[BaseException]]] = {
    "StorageError": (_raise(StorageError("as told")), StorageError),
    "DamagedStoreError": (_raise(DamagedStoreError("as told")), StorageError),
    "MemoryError": (_raise(MemoryError()), MemoryError),
    "RecursionError": (_without_end, RecursionError),
    "KeyboardInterrupt": (_raise(KeyboardInterrupt()), KeyboardInterrupt),
    "SystemExit": (_raise(SystemExit(1)), SystemExit),
}


def _fail(how: str) -> None:
    action = FAILS_ALONE.get(how) or STOPS[how][0]
    action()


class Planted(Body):
    """`how` names an exception, `where` the place that raises it."""

    name: str
    how: str = ""
    where: str = "handler"

    @field_validator("where")
    @classmethod
    def _validate(cls, value: str, info: Any) -> str:
        if value == "validation":
            _fail(info.data["how"])
        return value


def planted(state: State, body: Planted, context: Context) -> Any:
    state.set(state_key("test", "planted", body.name), {"by": context.organisation})
    if body.how and body.where == "handler":
        _fail(body.how)
    if body.how and body.where == "events":
        return _failing_events(body)
    return [Event(KIND, {"name": body.name})]


def _failing_events(body: Planted) -> Iterator[Event]:
    """Yield events lazily, so that what is wrong shows only when somebody reads them."""
    yield Event(KIND, {"name": body.name})
    _fail(body.how)


def harmless(state: State, body: Planted, context: Context) -> list[Event]:
    """Do what `planted` does where nothing is wrong."""
    state.set(state_key("test", "planted", body.name), {"by": context.organisation})
    return [Event(KIND, {"name": body.name})]


class Harmless(Body):
    """The same fields, and nothing that fails."""

    name: str
    how: str = ""
    where: str = "handler"


PLANTED = OperationType(KIND, "Fail as told.", Planted, planted, frozenset(), ())
SOUND = OperationType(KIND, "Do not fail.", Harmless, harmless, frozenset(), ())
