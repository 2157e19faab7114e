"""From the bytes that a program wrote to a typed answer, checked against its manifest.

The bytes come from a machine that nobody trusts, so anything unexpected is refused by name.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.programs.manifest import ProgramManifest, ResultField, ResultKind

MESSAGE_CHARACTERS_MAX = 200
INTEGER_EXACT_MAX = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramResult:
    """``values`` has every result field of the manifest and nothing else."""

    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramError:
    """The program understood the question and says why it has no answer.

    ``code`` is one of the manifest's; ``position`` counts characters of the input text from 1.
    """

    code: str
    message: str
    position: int | None = None


def decode_answer(manifest: ProgramManifest, output: bytes) -> ProgramResult | ProgramError:
    """Read a program's output.

    Raises:
        InvalidInputError: the output is not an answer that this program may give.
    """
    if len(output) > manifest.limits.output_bytes_max:
        _refuse(manifest, f"has at most {manifest.limits.output_bytes_max} bytes")
    try:
        answer = json.loads(output.decode(), parse_constant=_no_constant, object_pairs_hook=_object)
    except (ValueError, RecursionError):
        _refuse(manifest, "is JSON without repeated names, NaN or infinity")
    if not isinstance(answer, dict) or len(answer) != 1:
        _refuse(manifest, "is an object with either result or error")
    if "result" in answer:
        return _result(manifest, answer["result"])
    return _error(manifest, answer.get("error"))


def _result(manifest: ProgramManifest, values: object) -> ProgramResult:
    names = {field.name for field in manifest.results}
    if not isinstance(values, dict) or set(values) != names:
        _refuse(manifest, f"has exactly the fields {', '.join(sorted(names))}")
    for field in manifest.results:
        if not _FITS[field.kind](values[field.name]):
            _refuse(manifest, f"has a {field.name} of kind {field.kind}")
    exact = {field.name: _exact(field, values[field.name]) for field in manifest.results}
    return ProgramResult(values=exact)


def _exact(field: ResultField, value: Any) -> Any:
    """The value with large numbers as they were meant.

    Canonical JSON writes a large binary64 as an integer with zeros at its end; Python would read
    that as another, exact, integer.
    """
    match field.kind:
        case ResultKind.NUMBER:
            return _binary64(value)
        case ResultKind.LIST:
            return [_binary64(item) for item in value]
        case ResultKind.MATRIX:
            return [[_binary64(entry) for entry in row] for row in value]
        case _:
            return value


def _binary64(value: Any) -> Any:
    return float(value) if _is_integer(value) and abs(value) > INTEGER_EXACT_MAX else value


def _error(manifest: ProgramManifest, error: object) -> ProgramError:
    if not isinstance(error, dict) or not set(error) <= {"code", "message", "position"}:
        _refuse(manifest, "has an error with code, message and perhaps position")
    code, message, position = error.get("code"), error.get("message"), error.get("position")
    if code not in [known.code for known in manifest.errors]:
        _refuse(manifest, "has one of the manifest's error codes")
    if not isinstance(message, str) or len(message) > MESSAGE_CHARACTERS_MAX:
        _refuse(manifest, f"has a message of at most {MESSAGE_CHARACTERS_MAX} characters")
    if position is not None and not (_is_integer(position) and position >= 1):
        _refuse(manifest, "has a position of 1 or more")
    return ProgramError(code=code, message=message, position=position)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    # A literal such as 1e999 reads as infinity without being one of JSON's refused constants.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max


def _is_uniform(items: Any) -> bool:
    return _is_list(items) and (
        all(isinstance(item, str) for item in items) or all(_is_number(item) for item in items)
    )


def _are_integers(items: Any) -> bool:
    return _is_list(items) and all(_is_integer(item) for item in items)


def _are_counts(items: Any) -> bool:
    return _is_list(items) and all(_is_count(item) for item in items)


def _is_count(item: object) -> bool:
    return (
        isinstance(item, dict)
        and set(item) == {"count", "text"}
        and _is_integer(item["count"])
        and isinstance(item["text"], str)
    )


def _is_matrix(rows: Any) -> bool:
    return _is_list(rows) and all(
        isinstance(row, list) and len(row) == len(rows[0]) and all(_is_number(x) for x in row)
        for row in rows
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("repeated name")
    return found


def _no_constant(text: str) -> NoReturn:
    raise ValueError(text)


def _refuse(manifest: ProgramManifest, rule: str) -> NoReturn:
    raise InvalidInputError(
        where=f"output of {manifest.name}",
        rule=rule,
        advice="The node ran something else, or changed what came out.",
    )


_FITS: dict[ResultKind, Callable[[Any], bool]] = {
    ResultKind.INTEGER: _is_integer,
    ResultKind.NUMBER: _is_number,
    ResultKind.BOOLEAN: lambda value: isinstance(value, bool),
    ResultKind.TEXT: lambda value: isinstance(value, str),
    ResultKind.LIST: _is_uniform,
    ResultKind.INTEGERS: _are_integers,
    ResultKind.COUNTS: _are_counts,
    ResultKind.MATRIX: _is_matrix,
}
