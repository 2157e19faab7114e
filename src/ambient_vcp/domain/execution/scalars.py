"""Typed scalar values: how arguments are read from text and results are written as bytes.

A value is its type and its bits, so that nothing is lost between a guest, a receipt and a program.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.execution.invocation import ValueType

ARGUMENT_CHARS_MAX = 64
VALUES_MAX = 1000

_WIDTH_BITS = {ValueType.I32: 32, ValueType.I64: 64, ValueType.F32: 32, ValueType.F64: 64}
_CANONICAL_NAN_BITS = {ValueType.F32: 0x7FC00000, ValueType.F64: 0x7FF8000000000000}
_INTEGER = re.compile(r"[+-]?[0-9]+")
_HEXADECIMAL = re.compile(r"0[xX][0-9a-fA-F]+")
_DECIMAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_SPECIAL = {"nan": math.nan, "inf": math.inf, "+inf": math.inf, "-inf": -math.inf}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalarValue:
    """``bits`` is the unsigned bit pattern, below 2 to the type's width; NaNs are canonical."""

    type: ValueType
    bits: int

    def to_number(self) -> int | float:
        """The signed integer or the float these bits stand for."""
        match self.type:
            case ValueType.F32:
                return float(struct.unpack("<f", struct.pack("<I", self.bits))[0])
            case ValueType.F64:
                return float(struct.unpack("<d", struct.pack("<Q", self.bits))[0])
            case ValueType.I32 | ValueType.I64:
                width = _WIDTH_BITS[self.type]
                return self.bits - (1 << width) if self.bits >> (width - 1) else self.bits


def scalar_from_number(kind: ValueType, number: float) -> ScalarValue:
    """Wrap what an engine returned: integers modulo the width, floats exactly, NaN canonical."""
    if kind in _CANONICAL_NAN_BITS:
        return ScalarValue(type=kind, bits=_float_bits(kind, float(number)))
    return ScalarValue(type=kind, bits=int(number) % (1 << _WIDTH_BITS[kind]))


def parse_scalars(texts: Sequence[str], types: Sequence[ValueType]) -> tuple[ScalarValue, ...]:
    """Read one argument per type; raises InvalidInputError that names the argument."""
    if len(texts) != len(types):
        signature = ", ".join(types) or "none"
        raise InvalidInputError(
            where="args",
            rule=f"the export takes {len(types)} arguments ({signature})",
            got=str(len(texts)),
        )
    return tuple(
        parse_scalar(text, kind, where=f"args[{index}]")
        for index, (text, kind) in enumerate(zip(texts, types, strict=True))
    )


def parse_scalar(text: str, kind: ValueType, *, where: str = "argument") -> ScalarValue:
    """Read one value; decimals round to the nearest float, ties to even."""
    width = _WIDTH_BITS[kind]
    if len(text) > ARGUMENT_CHARS_MAX:
        raise InvalidInputError(
            where=where, rule=f"at most {ARGUMENT_CHARS_MAX} characters", got=str(len(text))
        )
    if _HEXADECIMAL.fullmatch(text):
        bits = int(text, 16)
        if bits >> width:
            raise InvalidInputError(where=where, rule=f"{kind} has {width} bits", got=text)
        return _canonical(ScalarValue(type=kind, bits=bits))
    if kind in _CANONICAL_NAN_BITS:
        return ScalarValue(type=kind, bits=_float_bits(kind, _parse_float(text, kind, where)))
    if not _INTEGER.fullmatch(text):
        raise InvalidInputError(
            where=where, rule=f"{kind} is a decimal or 0x hexadecimal integer", got=_quoted(text)
        )
    value = int(text)
    if not -(1 << (width - 1)) <= value < (1 << width):
        raise InvalidInputError(where=where, rule=f"{kind} has {width} bits", got=text)
    return ScalarValue(type=kind, bits=value % (1 << width))


def encode_scalars(values: Sequence[ScalarValue]) -> bytes:
    """Canonical JSON (RFC 8785) of results: the output bytes of a scalar call.

    ``{"values":[{"type":"i32","value":"-5"},{"bits":"0x3f800000","type":"f32","value":"1.0"}]}``:
    integers as signed decimals, floats as the shortest decimal that reads back to the same bits.
    """
    document = {"values": [_as_json(value) for value in values]}
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def decode_scalars(data: bytes) -> tuple[ScalarValue, ...]:
    """Read what encode_scalars wrote; anything that is not byte for byte canonical is refused."""
    refusal = InvalidInputError(where="output", rule="canonical JSON of typed scalar values")
    try:
        document = json.loads(data)
        items = document["values"]
        if len(items) > VALUES_MAX:
            raise refusal
        values = tuple(_from_json(item) for item in items)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise refusal from error
    if encode_scalars(values) != data:
        raise refusal
    return values


def text_of(value: ScalarValue) -> str:
    """The value for people: a signed decimal, or the shortest decimal with the same bits."""
    number = value.to_number()
    if isinstance(number, int):
        return str(number)
    if math.isnan(number):
        return "nan"
    if value.type is ValueType.F64 or math.isinf(number):
        return repr(number)
    for digits in range(1, 10):
        text = f"{number:.{digits}g}"
        if parse_scalar(text, ValueType.F32).bits == value.bits:
            return repr(float(text))
    raise AssertionError("nine digits identify every f32")


def _as_json(value: ScalarValue) -> dict[str, str]:
    fields = {"type": str(value.type), "value": text_of(value)}
    if value.type in _CANONICAL_NAN_BITS:
        fields["bits"] = f"0x{value.bits:0{_WIDTH_BITS[value.type] // 4}x}"
    return fields


def _from_json(item: dict[str, Any]) -> ScalarValue:
    kind = ValueType(item["type"])
    text = item["bits"] if kind in _CANONICAL_NAN_BITS else item["value"]
    if not isinstance(text, str):
        raise TypeError("a value is written as text")
    return parse_scalar(text, kind)


def _canonical(value: ScalarValue) -> ScalarValue:
    if value.type in _CANONICAL_NAN_BITS and math.isnan(value.to_number()):
        return ScalarValue(type=value.type, bits=_CANONICAL_NAN_BITS[value.type])
    return value


def _parse_float(text: str, kind: ValueType, where: str) -> float:
    if text.lower() in _SPECIAL:
        return _SPECIAL[text.lower()]
    if not _DECIMAL.fullmatch(text):
        raise InvalidInputError(
            where=where,
            rule=f"{kind} is a decimal, nan, inf, -inf or 0x and the bits",
            got=_quoted(text),
        )
    nearest = float(text)
    if kind is ValueType.F64 or math.isinf(nearest) or nearest == 0.0:
        return nearest
    return _rounded_to_odd(text, nearest)


def _rounded_to_odd(text: str, nearest: float) -> float:
    """A double that rounds to the same f32 as the text itself, without rounding twice.

    Where the decimal lies between two doubles, the one with the odd last bit is taken: it can not
    be a tie between two f32 values, and lies on the same side of every tie as the decimal.
    """
    exact, found = Decimal(text), Decimal(nearest)
    if exact == found:
        return nearest
    other = math.nextafter(nearest, math.inf if exact > found else -math.inf)
    nearest_bits = int.from_bytes(struct.pack("<d", nearest), "little")
    return nearest if nearest_bits & 1 else other


def _float_bits(kind: ValueType, number: float) -> int:
    if math.isnan(number):
        return _CANONICAL_NAN_BITS[kind]
    if kind is ValueType.F64:
        return int.from_bytes(struct.pack("<d", number), "little")
    try:
        packed = struct.pack("<f", number)
    except OverflowError:
        packed = struct.pack("<f", math.copysign(math.inf, number))
    return int.from_bytes(packed, "little")


def _quoted(text: str) -> str:
    return ascii(text[:ARGUMENT_CHARS_MAX])
