"""What a model's validation found wrong, as people read it: `field.part: what is wrong`."""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError

_PREFIX: Final = "Value error, "
"""What pydantic puts before the message of a validator of ours."""


def plain_message(message: str) -> str:
    """Return pydantic's message without its own prefix."""
    return message.removeprefix(_PREFIX)


def problems_of(error: ValidationError) -> tuple[tuple[str, str], ...]:
    """Return all problems as (field, what is wrong); the field is "" where it is the whole."""
    return tuple(
        (".".join(str(part) for part in detail["loc"]), plain_message(detail["msg"]))
        for detail in error.errors(include_url=False, include_context=False, include_input=False)
    )


def first_problem(error: ValidationError, *, whole: str = "") -> str:
    """Return the first problem as one sentence; `whole` names what has no field of its own."""
    where, text = problems_of(error)[0]
    where = where or whole
    return f"{where}: {text}" if where else text
