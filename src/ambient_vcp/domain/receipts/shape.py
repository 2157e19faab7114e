"""Translate frozen dataclasses to JSON values and back, refusing everything that is not declared.

The dataclass is the schema: field names are the JSON names, and ``Annotated`` carries the bounds.
Supported are int, bool, text, ``StrEnum``, ``X | None``, ``tuple[X, ...]``, ``tuple[X, Y]`` and
nested dataclasses.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Hashable
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from functools import cache
from itertools import repeat
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.receipts.canonical import INTEGER_MAX, Json

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Between:
    """Bounds of an integer, both allowed."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Matches:
    """A text that the pattern matches as a whole; ``rule`` says so in words."""

    pattern: str
    rule: str


@dataclass(frozen=True, slots=True)
class AtMost:
    """Longest text in characters, or most items of a list."""

    length: int


Bound = Between | Matches | AtMost

TEXT_CHARACTERS_MAX = 65_536
ITEMS_MAX = 4_096
_PLAIN = frozenset({str, int, bool, type(None)})


def to_json(value: object) -> Json:
    """The JSON value of a declared value. Tuples become lists, enums their text."""
    if isinstance(value, StrEnum):
        return value.value
    if value is None or isinstance(value, int | str):
        return value
    if isinstance(value, tuple):
        return [to_json(item) for item in value]
    items = ((name, getattr(value, name)) for name in _names(cast("Hashable", type(value))))
    return {name: item if type(item) in _PLAIN else to_json(item) for name, item in items}


@cache
def _names(kind: Hashable) -> tuple[str, ...]:
    assert isinstance(kind, type)
    assert is_dataclass(kind)
    return tuple(each.name for each in fields(kind))


def from_json(kind: type[T], value: Json, where: str) -> T:
    """Read ``kind`` (a dataclass) from a JSON value.

    Raises:
        InvalidInputError: a missing or unknown field, another type than declared, or a broken
            bound. ``where`` and the path below it name the place.
    """
    return cast("T", _reader(cast("Hashable", kind))(value, where))


Where = str | tuple["Where", str]
"""A place: text, or the place around it and what to add; joined only for an error's sake."""

Reader = Callable[[Json, Where], object]


@cache
def _reader(kind: Hashable) -> Reader:
    """How objects of ``kind`` are read: its declaration is looked at once."""
    assert isinstance(kind, type)
    assert is_dataclass(kind)
    hints = get_type_hints(kind, include_extras=True)
    readers = [(each.name, f".{each.name}", _reader_of(hints[each.name])) for each in fields(kind)]
    names = frozenset(name for name, _, _ in readers)

    def read(value: Json, where: Where) -> object:
        if not isinstance(value, dict):
            raise _bad(where, "must be an object")
        if value.keys() != names:
            missing = [f"missing {name}" for name, _, _ in readers if name not in value]
            unknown = [f"unknown {name}" for name in value if name not in names]
            got = ", ".join(missing + unknown)
            raise _bad(where, "must have exactly the fields of its kind", got[:200])
        return kind(**{name: read(value[name], (where, path)) for name, path, read in readers})

    return read


def _reader_of(hint: Any, bounds: tuple[Bound, ...] = ()) -> Reader:
    hint = getattr(hint, "__supertype__", hint)
    origin = get_origin(hint)
    if origin is Annotated:
        inner, *found = get_args(hint)
        return _reader_of(inner, (*found, *bounds))
    if origin in {Union, types.UnionType}:
        (inner,) = (each for each in get_args(hint) if each is not types.NoneType)
        read = _reader_of(inner, bounds)
        return lambda value, where: None if value is None else read(value, where)
    if origin is tuple:
        return _list_reader(get_args(hint), bounds)
    if is_dataclass(hint):
        return _reader(cast("Hashable", hint))
    return _plain_reader(hint, bounds)


def _plain_reader(hint: Any, bounds: tuple[Bound, ...]) -> Reader:
    if hint is bool:
        return _read_bool
    if hint is int:
        return _integer_reader(bounds)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _enum_reader(hint)
    assert hint is str
    return _text_reader(bounds)


def _list_reader(kinds: tuple[Any, ...], bounds: tuple[Bound, ...]) -> Reader:
    is_open = kinds[-1] is Ellipsis
    longest = min([ITEMS_MAX, *(each.length for each in bounds if isinstance(each, AtMost))])
    readers = [_reader_of(kind) for kind in kinds if kind is not Ellipsis]

    def read(value: Json, where: Where) -> object:
        if not isinstance(value, list):
            raise _bad(where, "must be a list")
        if is_open and len(value) > longest:
            raise _bad(where, f"at most {longest} items", str(len(value)))
        if not is_open and len(value) != len(readers):
            raise _bad(where, f"must have {len(readers)} items", str(len(value)))
        each = repeat(readers[0], len(value)) if is_open else readers
        return tuple(
            read(item, (where, f"[{index}]"))
            for index, (read, item) in enumerate(zip(each, value, strict=True))
        )

    return read


def _read_bool(value: Json, where: Where) -> object:
    if type(value) is not bool:
        raise _bad(where, "must be true or false")
    return value


def _integer_reader(bounds: tuple[Bound, ...]) -> Reader:
    low, high = 0, INTEGER_MAX
    for bound in bounds:
        if isinstance(bound, Between):
            low, high = bound.low, bound.high

    def read(value: Json, where: Where) -> object:
        if type(value) is not int:
            raise _bad(where, "must be an integer")
        if not low <= value <= high:
            raise _bad(where, f"must be {low} to {high}", str(value))
        return value

    return read


def _enum_reader(kind: type[StrEnum]) -> Reader:
    members = {str(member): member for member in kind}

    def read(value: Json, where: Where) -> object:
        if not isinstance(value, str):
            raise _bad(where, "must be text")
        if value not in members:
            raise _bad(where, f"must be one of {', '.join(members)}", value[:64])
        return members[value]

    return read


def _text_reader(bounds: tuple[Bound, ...]) -> Reader:
    longest = TEXT_CHARACTERS_MAX
    for bound in bounds:
        if isinstance(bound, AtMost):
            longest = bound.length
    patterns = [(re.compile(b.pattern), b.rule) for b in bounds if isinstance(b, Matches)]

    def read(value: Json, where: Where) -> object:
        if not isinstance(value, str):
            raise _bad(where, "must be text")
        for pattern, rule in patterns:
            if not pattern.fullmatch(value):
                raise _bad(where, rule, repr(value[:80]))
        if len(value) > longest:
            raise _bad(where, f"at most {longest} characters", str(len(value)))
        return value

    return read


def _bad(where: Where, rule: str, got: str = "") -> InvalidInputError:
    parts: list[str] = []
    while not isinstance(where, str):
        where, last = where
        parts.append(last)
    return InvalidInputError(where=where + "".join(reversed(parts)), rule=rule, got=got)
