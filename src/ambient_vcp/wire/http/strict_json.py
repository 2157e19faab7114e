"""Reading a request's JSON: nothing ambiguous, nothing unbounded."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NoReturn, TypeVar

import msgspec

from ambient_vcp.domain.errors import InvalidInputError, ValidationFailedError

T = TypeVar("T")

INFINITY = float("inf")
DEPTH_MAX = 32
"""Of a whole body. Task inputs have their own, lower bound."""


def read(body: bytes, kind: type[T]) -> T:
    """Parse a body and give it its shape.

    Raises:
        InvalidInputError: not UTF-8, not JSON, NaN or an infinity, a key twice, too deep, a lone
            surrogate or NUL in a text.
        ValidationFailedError: a field is missing, unknown, of the wrong type or out of bounds.
    """
    value = parse(body)
    try:
        return msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        raise _named(str(error)) from None


def parse(body: bytes) -> Any:
    """Parse a body; see :func:`read`."""
    if not body:
        raise InvalidInputError(where="body", rule="must be JSON", got="nothing")
    try:
        value = json.loads(
            body.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant
        )
    except InvalidInputError:
        raise
    except UnicodeDecodeError:
        raise InvalidInputError(where="body", rule="must be UTF-8") from None
    except json.JSONDecodeError as error:
        rule = f"must be JSON: {error.msg} at line {error.lineno} column {error.colno}"
        raise InvalidInputError(where="body", rule=rule) from None
    except (ValueError, RecursionError):
        # An integer of thousands of digits, or nesting beyond the interpreter's own bound.
        raise InvalidInputError(where="body", rule="must be JSON of sane size") from None
    _check(value, DEPTH_MAX, texts=b"\\u" in body)
    return value


def _check(value: Any, depth_left: int, *, texts: bool) -> None:
    """Bound the depth; texts need a look only where the body has escapes."""
    if isinstance(value, dict):
        _descend(value.values(), depth_left, texts=texts)
        if texts:
            _descend(value, depth_left, texts=True)
    elif isinstance(value, list):
        _descend(value, depth_left, texts=texts)
    elif isinstance(value, str):
        if texts and ("\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value)):
            raise InvalidInputError(where="body", rule="texts are valid Unicode without NUL")
    elif isinstance(value, float) and value in (INFINITY, -INFINITY):
        raise InvalidInputError(where="body", rule="numbers are finite")


def _descend(items: Iterable[Any], depth_left: int, *, texts: bool) -> None:
    if depth_left == 0:
        raise InvalidInputError(where="body", rule=f"nests at most {DEPTH_MAX} deep")
    for item in items:
        # Most are texts that need no look: not even a call.
        if texts or not isinstance(item, str):
            _check(item, depth_left - 1, texts=texts)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]  # add() answers None on purpose
        raise InvalidInputError(where="body", rule="has each key once", got=ascii(twice[:64]))
    return found


def _no_constant(text: str) -> NoReturn:
    raise InvalidInputError(where="body", rule="numbers are finite", got=text)


def _named(message: str) -> ValidationFailedError:
    """``Expected `int` - at `$.a.b``` becomes where ``a.b`` and the rule."""
    rule, _, path = message.rpartition(" - at `")
    if not rule:
        return ValidationFailedError(where="body", rule=message[:300])
    where = path.rstrip("`").removeprefix("$").removeprefix(".") or "body"
    return ValidationFailedError(where=where[:200], rule=rule[:300])
