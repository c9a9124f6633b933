"""Bodies of operations for fuzzing, from their pydantic models alone: nothing here knows a single operation.

A field's values come from three wells: what stands in the attacked ledger and fits the field's type (so that
references hit), what its constraints allow, and what nobody should send. A body is one that takes effect, one that
took effect before, or one put together from its fields; then it is damaged: a field dropped, added, exchanged for
one of another type or size, taken from elsewhere, or replaced by bytes that are not canonical.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Annotated, Any, Literal, Union

import annotated_types
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from ledger.codec import Value, decode, encode
from ledger.errors import DecodeError
from ledger.operations import Body
from tests.attack.sloppy import Pairs, oddities

MAX_ITEMS = 4
"""Items of a sequence that a strategy draws by itself; longer ones come from the extremes."""

ODD_TEXTS = (
    "",
    " ",
    "a/b",
    "../../etc/passwd",
    "a\x00b",
    "a\nb\t",
    "\x1b[31mred\x1b[0m",
    "\u202egnp.exe",
    "\ufeffa",
    "e\u0301 \u00e9",  # two forms of one letter
    "\ufb01\u0130\u1e9e",  # change their length when folded
    "\u0663\u0664",  # digits, for `isdigit`
    "\u4e00\u3007",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\ud7ff\ue000\uffff",
    "\u2028\u2029\x85",
    "None",
    "-0",
    "1e9",
    "９９９９",
    "{{7*7}}",
    "'; DROP TABLE entries; --",
    "a" * 65,
    "a" * 201,
    "永" * 8_001,
)

EXTREMES: tuple[Value, ...] = (
    None,
    False,
    True,
    0,
    -1,
    1,
    2**31,
    2**53 + 1,
    2**63 - 1,
    2**63,
    2**64 - 1,
    -(2**63),
    253_402_300_800_000,
    b"",
    b"\x00" * 31,
    b"\x00" * 32,
    b"\xff" * 32,
    b"\x00" * 64,
    b"\xff" * 64,
    b"\x90",
    b"x" * 9_000,
    "x" * 40_000,
    (),
    ((),),
    {},
    {"": None},
    ("a", 1, b"b", None, {"c": ()}),
    {"a": {"a": {"a": {"a": {"a": {"a": {"a": ()}}}}}}},
    ("x",) * 2_000,
    (b"\x01" * 32,) * 33,
)


def type_of(field: FieldInfo) -> Any:
    """Return a field's type together with its constraints."""
    bare: Any = field.annotation
    return Annotated[bare, *field.metadata] if field.metadata else bare


class Pool:
    """Values that stand in the attacked ledger."""

    def __init__(self, values: Iterable[Value], without: str) -> None:
        found: set[Value] = set()
        for value in values:
            _harvest(value, found)
        kept = (one for one in found if not isinstance(one, str) or without not in one)
        self.values = tuple(sorted(kept, key=lambda one: (type(one).__name__, str(one))))

    def fitting(self, annotation: Any) -> tuple[Value, ...]:
        """Return the values that a field of this type accepts."""
        adapter: TypeAdapter[Any] = TypeAdapter(annotation)
        return tuple(value for value in self.values if _accepts(adapter, value))


def _accepts(adapter: TypeAdapter[Any], value: Value) -> bool:
    try:
        adapter.validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


def _harvest(value: Any, found: set[Any]) -> None:
    if isinstance(value, Mapping):
        for item in value.values():
            _harvest(item, found)
    elif isinstance(value, (tuple, list)):
        for item in value:
            _harvest(item, found)
    elif isinstance(value, (str, bytes, int)) and not isinstance(value, bool):
        found.add(value)


class BodyStrategies:
    """Strategies for the bodies of all operations, over one pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._anything = st.one_of(
            st.sampled_from(pool.values),
            st.sampled_from(EXTREMES),
            st.sampled_from(ODD_TEXTS),
            st.text(max_size=20),
            st.integers(-(2**63), 2**64 - 1),
        )
        self._of_model: Callable[[type[BaseModel]], st.SearchStrategy[dict[str, Any]]] = cache(
            self._make_model
        )

    def of(
        self, model: type[Body], known: Iterable[Mapping[str, Value]]
    ) -> st.SearchStrategy[dict[str, Any]]:
        """Return bodies that the model may accept: `known` ones, new ones, and known ones with some new fields."""
        new = self._of_model(model)
        base = st.sampled_from(sorted(known, key=repr))
        crossed = st.tuples(base, new, st.sets(st.sampled_from(sorted(model.model_fields)))).map(
            lambda parts: (
                {**parts[0], **{k: parts[1][k] for k in sorted(parts[2]) if k in parts[1]}}
            )
        )
        return st.one_of(base.map(dict), crossed, crossed, new)

    def _make_model(self, model: type[BaseModel]) -> st.SearchStrategy[dict[str, Any]]:
        required, optional = {}, {}
        for name, field in model.model_fields.items():
            target = required if field.is_required() else optional
            target[name] = self._of_type(type_of(field))
        return st.fixed_dictionaries(required, optional=optional)

    def _of_type(self, annotation: Any) -> st.SearchStrategy[Any]:
        bare, metadata = annotation, ()
        while typing.get_origin(bare) is Annotated:
            bare, *more = typing.get_args(bare)
            metadata = (*more, *metadata)
        bounds = _bounds(metadata)
        origin, arguments = typing.get_origin(bare), typing.get_args(bare)
        if origin is Literal:
            return st.sampled_from(arguments)
        if origin in (Union, types.UnionType):
            return st.one_of([self._of_type(one) for one in arguments if one is not type(None)])
        if origin is tuple:
            return st.lists(
                self._of_type(arguments[0]),
                min_size=bounds.get("min_length", 0),
                max_size=min(MAX_ITEMS, bounds.get("max_length", MAX_ITEMS)),
            ).map(tuple)
        if isinstance(bare, type) and issubclass(bare, BaseModel):
            return self._of_model(bare)
        return self._of_leaf(bare, annotation, bounds)

    def _of_leaf(
        self, bare: type, annotation: Any, bounds: Mapping[str, Any]
    ) -> st.SearchStrategy[Any]:
        shortest, longest = bounds.get("min_length", 0), bounds.get("max_length", 64)
        made: st.SearchStrategy[Any]
        if bare is bool:
            return st.booleans()
        if bare is int:
            made = st.integers(bounds.get("ge", -(2**63)), bounds.get("le", 2**64 - 1))
        elif bare is bytes:
            made = st.binary(min_size=shortest, max_size=max(shortest, min(longest, 80)))
        elif "pattern" in bounds:
            made = st.from_regex(bounds["pattern"].replace("$", r"\Z"), alphabet=_PRINTABLE)
        else:
            made = st.text(min_size=shortest, max_size=max(shortest, min(longest, 40)))
        fitting = self._pool.fitting(annotation)
        if not fitting:
            return made
        return st.one_of(st.sampled_from(fitting), st.sampled_from(fitting), made)

    # --- damage -------------------------------------------------------------------------------------

    def damaged(self, body: Mapping[str, Any]) -> st.SearchStrategy[Any]:
        """Return bodies that differ from this one in one place, which may no longer be canonical."""
        paths = [path for path in _paths(body) if path]
        where = st.sampled_from(paths) if paths else st.just(())
        return where.flatmap(lambda path: self._damaged_at(body, path))

    def _damaged_at(self, body: Mapping[str, Any], path: tuple[Any, ...]) -> st.SearchStrategy[Any]:
        def put(new: Any) -> Any:
            return _replaced(body, path, lambda _: new)

        old = _at(body, path)
        choices = [
            self._anything.map(put),
            self._anything.map(lambda extra: _replaced(body, path[:-1], _with(extra))),
            st.just(_replaced(body, path, None)),
            oddities.map(put),
            st.just(_replaced(body, path[:-1], _key_twice)),
        ]
        if isinstance(old, tuple):
            choices.append(st.sampled_from([old + old[:1], old[:-1], old[::-1]]).map(put))
        if isinstance(old, bytes) and old:
            choices.append(_inside(old).map(put))
            choices.append(st.integers(0, len(old) - 1).map(lambda at: put(_flipped(old, at))))
        return st.one_of(choices)


_PRINTABLE = st.characters(min_codepoint=0x20, max_codepoint=0x7E)


def _bounds(metadata: Iterable[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in metadata:
        if isinstance(one, FieldInfo):
            found.update(_bounds(one.metadata))
        elif isinstance(one, annotated_types.MinLen):
            found["min_length"] = one.min_length
        elif isinstance(one, annotated_types.MaxLen):
            found["max_length"] = one.max_length
        elif isinstance(one, annotated_types.Ge):
            found["ge"] = one.ge
        elif isinstance(one, annotated_types.Le):
            found["le"] = one.le
        elif getattr(one, "pattern", None) is not None:
            found["pattern"] = one.pattern
    return found


def _paths(value: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [prefix]
    if isinstance(value, Mapping):
        for key in sorted(value):
            found += _paths(value[key], (*prefix, key))
    elif isinstance(value, tuple):
        for index, item in enumerate(value[:MAX_ITEMS]):
            found += _paths(item, (*prefix, index))
    return found


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def _replaced(value: Any, path: tuple[Any, ...], change: Callable[[Any], Any] | None) -> Any:
    """Return `value` with what stands at `path` changed, or dropped where `change` is None."""
    if not path:
        return value if change is None else change(value)
    step, rest = path[0], path[1:]
    if isinstance(value, Mapping):
        changed = dict(value)
        if not rest and change is None:
            del changed[step]
        else:
            changed[step] = _replaced(value[step], rest, change)
        return changed
    if not rest and change is None:
        return value[:step] + value[step + 1 :]
    return (*value[:step], _replaced(value[step], rest, change), *value[step + 1 :])


def _with(extra: Any) -> Callable[[Any], Any]:
    """Return a change that adds a field nobody knows, or an item."""
    return lambda value: (
        {**value, "zz_unknown": extra} if isinstance(value, Mapping) else (*value, extra)
    )


def _key_twice(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    pairs = sorted(value.items())
    return Pairs((*pairs[:1], *pairs))


def _flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def _inside(data: bytes) -> st.SearchStrategy[bytes]:
    """Return encodings that differ from an encoded structure (a signed request, say) in one part."""
    try:
        value = decode(data)
    except DecodeError:
        return st.just(data + b"\x00")
    if not isinstance(value, tuple) or not value:
        return st.just(data + b"\x00")
    parts: tuple[Any, ...] = value

    def changed(index: int) -> st.SearchStrategy[bytes]:
        old = parts[index]
        new: st.SearchStrategy[Any] = st.sampled_from(EXTREMES)
        if isinstance(old, bytes) and len(old) > 64:
            new = st.one_of(new, _inside(old))
        return new.map(lambda one: encode((*parts[:index], one, *parts[index + 1 :])))

    return st.integers(0, len(parts) - 1).flatmap(changed)
