"""Generate docs/OPERATIONS.md from the tables of operations. `--check` compares instead of writing.

python docs/generate.py            write the page
python docs/generate.py --check    exit 1 where the page in the tree is not what the tables say
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ledger import admission, execution
from ledger.operations import OperationType
from node.operation_table import OPERATIONS

COMMON_CODES = (
    (admission.MALFORMED, "not the canonical encoding of a transaction"),
    (admission.WRONG_CHAIN, "signed for another chain"),
    (admission.BAD_SIGNATURE, "the signature is not the signer's"),
    (admission.EXPIRED, "`valid_until` has passed"),
    (admission.TOO_DISTANT, "`valid_until` lies beyond the transaction lifetime"),
    (admission.DUPLICATE, "the log holds this transaction already"),
    (admission.UNKNOWN_SIGNER, "the signer's key is not enrolled"),
    (admission.KEY_REVOKED, "the signer's key is revoked"),
    (admission.ORGANISATION_DISSOLVED, "the signer's organisation is dissolved"),
    (admission.UNKNOWN_OPERATION, "no such kind of operation"),
    (admission.INVALID_BODY, "the body is not what its model allows"),
    (admission.ROLE_MISSING, "the signer's key lacks the role"),
    (execution.VALUE_TOO_LARGE, "a record would outgrow its bound"),
    (admission.INTERNAL, "a handler met a bug of ours; the operation took no effect"),
)
"""Codes that no operation lists itself: a node refuses with them, or the log records them."""

HEX = re.compile(r"\^\(\[0-9a-f\]\{2\}\)\{([0-9]+),([0-9]+)\}\$")
PAGE = Path(__file__).resolve().parent / "OPERATIONS.md"

HEAD = """# Operations

Every kind of operation that a transaction may hold. This page is generated from the tables in the
code (`make docs`); `make lint` fails where it is out of date.

- A transaction is all-or-nothing: if one operation fails, none takes effect, and the log records the
  failure's code and the operation's index.
- *Roles*: the signer's key must hold one of them in its organisation.
- *Codes*: what the operation itself may refuse with. Any operation may also fail with the codes of the
  table below.
- Bytes are written in hex in JSON. Times are milliseconds since the Unix epoch.

"""


def main(arguments: list[str]) -> int:
    text = page()
    if "--check" not in arguments:
        PAGE.write_text(text, "utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text("utf-8") == text:
        return 0
    print(f"{PAGE.name} is out of date; run: make docs", file=sys.stderr)
    return 1


def page() -> str:
    table = OPERATIONS
    kinds = sorted(table)
    lines = [HEAD, "| code | when |", "|---|---|"]
    lines += [f"| `{code}` | {when} |" for code, when in COMMON_CODES]
    lines += ["", "## Index", ""]
    lines += [f"- [`{kind}`](#{kind.replace('.', '')}): {table[kind].summary}" for kind in kinds]
    for kind in kinds:
        lines += ["", *section(table[kind])]
    return "\n".join(lines) + "\n"


def section(operation: OperationType) -> list[str]:
    roles = ", ".join(f"`{role}`" for role in sorted(operation.roles)) or "any enrolled key"
    codes = ", ".join(f"`{code}`" for code in sorted(set(operation.codes))) or "none"
    lines = [f"## `{operation.kind}`", "", operation.summary, "", f"Roles: {roles}.", ""]
    schema = operation.body.model_json_schema(mode="validation")
    note = " ".join(str(schema.get("description", "")).split())
    if note:
        lines += [note, ""]
    lines += ["| field | type | required |", "|---|---|---|"]
    lines += rows(schema, schema.get("$defs", {}), "")
    return [*lines, "", f"Codes: {codes}."]


def rows(schema: dict[str, Any], definitions: dict[str, Any], prefix: str) -> list[str]:
    """Return a table row for each field; fields of nested objects follow, with a dotted name."""
    required = set(schema.get("required", ()))
    lines = []
    for name, field in schema.get("properties", {}).items():
        inner, is_list = nested(field, definitions)
        needed = "yes" if name in required else "no"
        lines.append(f"| `{prefix}{name}` | {type_text(field, definitions)} | {needed} |")
        if inner is not None:
            lines += rows(inner, definitions, f"{prefix}{name}{'[]' if is_list else ''}.")
    return lines


def nested(
    field: dict[str, Any], definitions: dict[str, Any]
) -> tuple[dict[str, Any] | None, bool]:
    """Return the object schema that a field holds, and whether it holds a list of them."""
    for option in field.get("anyOf", [field]):
        resolved = resolve(option, definitions)
        if resolved.get("type") == "array":
            item = resolve(resolved.get("items", {}), definitions)
            if "properties" in item:
                return item, True
        if "properties" in resolved:
            return resolved, False
    return None, False


def type_text(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    options = [
        one_type(resolve(option, definitions), definitions)
        for option in field.get("anyOf", [field])
        if option.get("type") != "null"
    ]
    return " or ".join(options)


def one_type(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "enum" in schema:
        return "one of " + ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = schema.get("type", "object")
    if kind == "array":
        item = one_type(resolve(schema.get("items", {}), definitions), definitions)
        return f"list of {item}{bounds(schema, 'minItems', 'maxItems')}"
    if kind == "integer":
        return f"integer{bounds(schema, 'minimum', 'maximum')}"
    if kind == "string":
        pattern = schema.get("pattern")
        of_bytes = HEX.fullmatch(pattern or "")
        if of_bytes is not None:
            least, most = of_bytes[1], of_bytes[2]
            return f"hex of {least if least == most else f'{least} to {most}'} bytes"
        if pattern:
            return f"string `{pattern}`".replace("|", "\\|")
        return f"string{bounds(schema, 'minLength', 'maxLength')}"
    return str(kind)


def bounds(schema: dict[str, Any], low: str, high: str) -> str:
    least, most = schema.get(low), schema.get(high)
    if least is None and most is None:
        return ""
    return f" ({least if least is not None else ''}…{most if most is not None else ''})"


def resolve(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    if isinstance(reference, str):
        target: dict[str, Any] = definitions[reference.rpartition("/")[2]]
        return target
    return schema


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
