"""Scalar values as text, as bits and as canonical output bytes."""

import struct
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.execution.invocation import ValueType
from ambient_vcp.domain.execution.scalars import (
    ScalarValue,
    decode_scalars,
    encode_scalars,
    parse_scalar,
    parse_scalars,
    scalar_from_number,
    text_of,
)

F32, F64, I32, I64 = ValueType.F32, ValueType.F64, ValueType.I32, ValueType.I64


@pytest.mark.parametrize(
    ("text", "kind", "bits"),
    [
        ("5", I32, 5),
        ("-1", I32, 0xFFFFFFFF),
        ("+7", I32, 7),
        ("4294967295", I32, 0xFFFFFFFF),
        ("0xFFFFFFFF", I32, 0xFFFFFFFF),
        ("-9223372036854775808", I64, 1 << 63),
        ("1", F32, 0x3F800000),
        ("0x3f800000", F32, 0x3F800000),
        ("-0.0", F64, 1 << 63),
        ("1e400", F64, 0x7FF0000000000000),
        ("-inf", F32, 0xFF800000),
        ("nan", F32, 0x7FC00000),
        ("0xffc12345", F32, 0x7FC00000),
        (".5", F64, 0x3FE0000000000000),
        ("1e39", F32, 0x7F800000),
    ],
)
def test_text_becomes_bits(text, kind, bits):
    assert parse_scalar(text, kind).bits == bits


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", I32),
        ("4294967296", I32),
        ("-2147483649", I32),
        ("0x100000000", I32),
        ("1.0", I32),
        ("1_000", I32),
        ("\u0661", I32),
        ("true", I32),
        ("-0x1", I32),
        ("1e", F64),
        ("infinity", F64),
        (" 1", F64),
        ("1" * 65, I64),
        ("0x1p3", F64),
    ],
)
def test_what_is_no_value_is_refused(text, kind):
    with pytest.raises(InvalidInputError):
        parse_scalar(text, kind)


def test_a_decimal_between_two_f32_is_rounded_once():
    # Exactly half way between two f32 values, plus a little that a double cannot hold.
    half = Fraction(1) + Fraction(1, 2**24)
    text = "1.000000059604644775390625000000000000001"
    assert Fraction(text) > half
    assert parse_scalar(text, F32).bits == 0x3F800001
    assert parse_scalar("1.000000059604644775390625", F32).bits == 0x3F800000


@given(st.integers(0, 2**32 - 1))
def test_every_f32_survives_its_shortest_text(bits):
    value = scalar_from_number(F32, struct.unpack("<f", struct.pack("<I", bits))[0])
    assert parse_scalar(text_of(value), F32) == value


@given(
    st.lists(
        st.tuples(st.sampled_from([I32, I64, F32, F64]), st.integers(0, 2**64 - 1)), max_size=5
    )
)
def test_encoded_values_decode_to_themselves(items):
    values = tuple(
        parse_scalar(hex(bits % 2 ** (32 if kind in (I32, F32) else 64)), kind)
        for kind, bits in items
    )
    assert decode_scalars(encode_scalars(values)) == values


def test_the_encoding_is_canonical_json():
    values = parse_scalars(("-5", "0.1"), (I32, F32))
    assert encode_scalars(values) == (
        b'{"values":[{"type":"i32","value":"-5"},{"bits":"0x3dcccccd","type":"f32","value":"0.1"}]}'
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"values":[{"type":"i32","value":5}]}',
        b'{"values":[{"type":"i32","value":"05"}]}',
        b'{"values": []}',
        b'{"values":[{"type":"i8","value":"5"}]}',
        b'{"values":[{"bits":"0x3f800000","type":"f32","value":"2.0"}]}',
        b'{"values":[{"bits":"0x7fc00001","type":"f32","value":"nan"}]}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_other_bytes_are_refused(data):
    with pytest.raises(InvalidInputError):
        decode_scalars(data)


def test_numbers_are_signed_and_exact():
    assert ScalarValue(type=I32, bits=0xFFFFFFFF).to_number() == -1
    assert ScalarValue(type=F64, bits=0x3FF8000000000000).to_number() == 1.5
