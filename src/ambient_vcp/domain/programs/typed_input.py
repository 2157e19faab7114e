"""From a caller's values to the one input record that they mean.

The encoding is canonical: equal values give equal bytes, so the input digest of a task says which
question was asked. ``guest/record.h`` of the catalogue describes the bytes.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from ambient_vcp.domain.errors import InvalidInputError, LimitExceededError
from ambient_vcp.domain.programs.manifest import InputField, InputKind, ProgramManifest

MAGIC = b"VCP1"
RECORD_BYTES_MAX = 4 * 1024 * 1024
GOT_CHARACTERS_MAX = 60
TEXT_HEAD_BYTES = 4
LIST_OF_NUMBERS, LIST_OF_TEXTS = 0, 1


def encode_input(manifest: ProgramManifest, values: Mapping[str, object]) -> bytes:
    """Check values against the manifest and encode them; absent fields take their defaults.

    Args:
        values: As JSON gives them: booleans, integers, finite floats, texts, lists.

    Raises:
        InvalidInputError: a missing or unknown field, or a value of the wrong type or size;
            ``where`` is ``input.NAME``.
        LimitExceededError: the record is larger than ``RECORD_BYTES_MAX``.
    """
    if not isinstance(values, Mapping):
        _refuse("input", "is an object with the program's fields", values, manifest)
    known = {field.name for field in manifest.inputs}
    for name in values:
        if name not in known:
            _refuse(f"input.{name}"[:GOT_CHARACTERS_MAX], "is not a field", None, manifest)
    record = bytearray(MAGIC)
    for field in manifest.inputs:
        value = values.get(field.name, field.default)
        if field.name not in values and field.is_required:
            _refuse(f"input.{field.name}", "is missing", None, manifest)
        try:
            record += _ENCODERS[field.kind](field, value)
        except _RuleError as error:
            _refuse(f"input.{field.name}", str(error), value, manifest)
        if len(record) > RECORD_BYTES_MAX:
            raise LimitExceededError(
                limit="the size of the input in bytes", maximum=RECORD_BYTES_MAX, got=len(record)
            )
    return bytes(record)


class _RuleError(Exception):
    """The rule that a value breaks."""


def _refuse(where: str, rule: str, got: object, manifest: ProgramManifest) -> NoReturn:
    shown = "" if got is None else repr(got)[: GOT_CHARACTERS_MAX + 1]
    if len(shown) > GOT_CHARACTERS_MAX:
        shown = shown[: GOT_CHARACTERS_MAX - 3] + "..."
    names = ", ".join(f.name if f.is_required else f"{f.name} (optional)" for f in manifest.inputs)
    raise InvalidInputError(
        where=where, rule=rule, got=shown, advice=f"{manifest.name} takes: {names}."
    )


def _boolean(_: InputField, value: object) -> bytes:
    if not isinstance(value, bool):
        raise _RuleError("is true or false")
    return bytes([value])


def _choice(field: InputField, value: object) -> bytes:
    if not isinstance(value, str) or value not in field.choices:
        raise _RuleError(f"is one of {', '.join(field.choices)}")
    return bytes([field.choices.index(value)])


def _bounded_text(field: InputField, value: object) -> bytes:
    text = _text(value)
    if not field.size_min <= len(text) - TEXT_HEAD_BYTES <= (field.size_max or 0):
        raise _RuleError(f"has {field.size_min} to {field.size_max} bytes of UTF-8")
    return text


def _integer(field: InputField, value: object) -> bytes:
    minimum, maximum = field.minimum or 0, field.maximum or 0
    if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= maximum:
        raise _RuleError(f"is an integer from {minimum} to {maximum}")
    return (value % 2**64).to_bytes(8, "little")


def _bounded_number(field: InputField, value: object) -> bytes:
    minimum, maximum = field.minimum or 0, field.maximum or 0
    encoded = _number(value)
    if not minimum <= struct.unpack("<d", encoded)[0] <= maximum:
        raise _RuleError(f"is a number from {minimum} to {maximum}")
    return encoded


def _number(value: object) -> bytes:
    """Integers that a binary64 cannot hold exactly are refused: nothing is rounded in silence."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _RuleError("has a value that is not a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or number != value:
        raise _RuleError("has a number that is not finite, or an integer too large to be exact")
    # Zero has two signs, and JSON knows one.
    return struct.pack("<d", number or 0.0)


def _text(value: object) -> bytes:
    if not isinstance(value, str):
        raise _RuleError("has a value that is not a text")
    try:
        encoded = value.encode()
    except UnicodeEncodeError:
        raise _RuleError("has half of a surrogate pair, which is no character") from None
    return struct.pack("<I", len(encoded)) + encoded


def _list(field: InputField, value: object) -> bytes:
    items = _sequence(value, field.size_min, field.size_max or 0, "items")
    texts = bool(items) and isinstance(items[0], str)
    kind = LIST_OF_TEXTS if texts else LIST_OF_NUMBERS
    if any(isinstance(item, str) != texts for item in items):
        raise _RuleError("has numbers only or texts only")
    encode = _text if texts else _number
    return struct.pack("<BI", kind, len(items)) + b"".join(encode(item) for item in items)


def _matrix(field: InputField, value: object) -> bytes:
    side_max = field.size_max or 0
    rows = [_sequence(row, 1, side_max, "columns") for row in _sequence(value, 1, side_max, "rows")]
    columns = len(rows[0])
    if any(len(row) != columns for row in rows):
        raise _RuleError("has rows of different lengths")
    head = struct.pack("<II", len(rows), columns)
    return head + b"".join(_number(entry) for row in rows for entry in row)


def _sequence(value: object, size_min: int, size_max: int, unit: str) -> Sequence[object]:
    if not isinstance(value, list | tuple) or not size_min <= len(value) <= size_max:
        raise _RuleError(f"is a list of {size_min} to {size_max} {unit}")
    return value


_ENCODERS: dict[InputKind, Callable[[InputField, object], bytes]] = {
    InputKind.INTEGER: _integer,
    InputKind.NUMBER: _bounded_number,
    InputKind.BOOLEAN: _boolean,
    InputKind.CHOICE: _choice,
    InputKind.TEXT: _bounded_text,
    InputKind.LIST: _list,
    InputKind.MATRIX: _matrix,
}
