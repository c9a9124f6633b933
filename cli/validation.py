"""From what people type to validated operation bodies, with errors that name the field."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from cli.output import CommandError

Model = TypeVar("Model", bound=BaseModel)


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
        raise CommandError(prefix + first_problem(error)) from None


def first_problem(error: ValidationError) -> str:
    """Return the first problem of a validation as `field: what is wrong`."""
    first = error.errors(include_url=False, include_context=False)[0]
    field = ".".join(str(part) for part in first["loc"]) or "body"
    return f"{field}: {str(first['msg']).removeprefix('Value error, ')}"
