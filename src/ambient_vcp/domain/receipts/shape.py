"""Translate frozen dataclasses to JSON values and back, refusing everything that is not declared.

The dataclass is the schema: field names are the JSON names, and ``Annotated`` carries the bounds.
Supported are int, bool, text, ``StrEnum``, ``X | None``, ``tuple[X, ...]``, ``tuple[X, Y]`` and
nested dataclasses.
"""

from __future__ import annotations

import re
import types
from collections.abc import Hashable
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from functools import cache
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


def to_json(value: object) -> Json:
    """The JSON value of a declared value. Tuples become lists, enums their text."""
    if isinstance(value, StrEnum):
        return value.value
    if value is None or isinstance(value, int | str):
        return value
    if isinstance(value, tuple):
        return [to_json(item) for item in value]
    return {name: to_json(getattr(value, name)) for name in _names(cast("Hashable", type(value)))}


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
    return cast("T", _read_object(kind, value, where))


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _read_object(kind: type, value: Json, where: str) -> object:
    if not isinstance(value, dict):
        raise _bad(where, "must be an object")
    names = [each.name for each in fields(kind)]
    missing = [name for name in names if name not in value]
    unknown = [name for name in value if name not in names]
    if missing or unknown:
        got = ", ".join([f"missing {name}" for name in missing] + [f"unknown {u}" for u in unknown])
        raise _bad(where, "must have exactly the fields of its kind", got[:200])
    hints = _hints(kind)
    return kind(**{name: _read(hints[name], value[name], f"{where}.{name}") for name in names})


def _read(hint: Any, value: Json, where: str, bounds: tuple[Bound, ...] = ()) -> object:
    hint = getattr(hint, "__supertype__", hint)
    origin = get_origin(hint)
    if origin is Annotated:
        inner, *found = get_args(hint)
        return _read(inner, value, where, (*found, *bounds))
    if origin in {Union, types.UnionType}:
        if value is None:
            return None
        (inner,) = (each for each in get_args(hint) if each is not types.NoneType)
        return _read(inner, value, where, bounds)
    if origin is tuple:
        return _read_list(get_args(hint), value, where, bounds)
    if is_dataclass(hint):
        return _read_object(cast("type", hint), value, where)
    return _read_plain(hint, value, where, bounds)


def _read_list(
    kinds: tuple[Any, ...], value: Json, where: str, bounds: tuple[Bound, ...]
) -> tuple[object, ...]:
    if not isinstance(value, list):
        raise _bad(where, "must be a list")
    if kinds[-1] is Ellipsis:
        longest = min([ITEMS_MAX, *(each.length for each in bounds if isinstance(each, AtMost))])
        if len(value) > longest:
            raise _bad(where, f"at most {longest} items", str(len(value)))
        kinds = (kinds[0],) * len(value)
    elif len(value) != len(kinds):
        raise _bad(where, f"must have {len(kinds)} items", str(len(value)))
    return tuple(
        _read(kind, item, f"{where}[{index}]")
        for index, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )


def _read_plain(hint: Any, value: Json, where: str, bounds: tuple[Bound, ...]) -> object:
    if hint is bool:
        if type(value) is not bool:
            raise _bad(where, "must be true or false")
        return value
    if hint is int:
        if type(value) is not int:
            raise _bad(where, "must be an integer")
        return _bounded_integer(value, where, bounds)
    if not isinstance(value, str):
        raise _bad(where, "must be text")
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        try:
            return hint(value)
        except ValueError as error:
            known = ", ".join(hint)
            raise _bad(where, f"must be one of {known}", value[:64]) from error
    assert hint is str
    return _bounded_text(value, where, bounds)


def _bounded_integer(value: int, where: str, bounds: tuple[Bound, ...]) -> int:
    low, high = 0, INTEGER_MAX
    for bound in bounds:
        if isinstance(bound, Between):
            low, high = bound.low, bound.high
    if not low <= value <= high:
        raise _bad(where, f"must be {low} to {high}", str(value))
    return value


def _bounded_text(value: str, where: str, bounds: tuple[Bound, ...]) -> str:
    longest = TEXT_CHARACTERS_MAX
    for bound in bounds:
        match bound:
            case AtMost(length=length):
                longest = length
            case Matches(pattern=pattern, rule=rule):
                if not re.fullmatch(pattern, value):
                    raise _bad(where, rule, repr(value[:80]))
            case Between():
                pass
    if len(value) > longest:
        raise _bad(where, f"at most {longest} characters", str(len(value)))
    return value


def _bad(where: str, rule: str, got: str = "") -> InvalidInputError:
    return InvalidInputError(where=where, rule=rule, got=got)
