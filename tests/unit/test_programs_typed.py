"""Typed inputs and typed results of named programs."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambient_vcp.domain.errors import InvalidInputError, LimitExceededError
from ambient_vcp.domain.programs.manifest import ProgramManifest
from ambient_vcp.domain.programs.parse_manifest import parse_manifest
from ambient_vcp.domain.programs.typed_input import RECORD_BYTES_MAX, encode_input
from ambient_vcp.domain.programs.typed_result import ProgramError, ProgramResult, decode_answer


def field(kind: str, **rest: Any) -> dict[str, Any]:
    return {"name": "v", "kind": kind, "meaning": "A value.", **rest}


def manifest(*inputs: dict[str, Any], results: tuple[str, ...] = ("integer",)) -> ProgramManifest:
    return parse_manifest(
        {
            "name": "probe",
            "title": "Probe",
            "summary": "For tests.",
            "version": "1.0.0",
            "interface": "bytes",
            "sha256": "0" * 64,
            "limits": {"fuel_max": 1, "memory_bytes_max": 65536, "output_bytes_max": 100_000},
            "input": list(inputs) or [field("boolean")],
            "result": [
                {"name": f"r{i}", "kind": kind, "meaning": "."} for i, kind in enumerate(results)
            ],
            "error": [{"code": "odd", "meaning": "."}],
        }
    )


INTEGER = field("integer", min=-3, max=2**64 - 1)
NUMBER = field("number", min=-1, max=1)
CHOICE = field("choice", choices=["red", "blue"])
TEXT = field("text", size_min=1, size_max=4)
LIST = field("list", size_max=3)
MATRIX = field("matrix", size_max=2)


@pytest.mark.parametrize(
    ("one", "value", "encoded"),
    [
        (INTEGER, 258, "0201000000000000"),
        (INTEGER, -1, "ff" * 8),
        (INTEGER, 2**64 - 1, "ff" * 8),
        (NUMBER, 0.5, "000000000000e03f"),
        (NUMBER, -0.0, "00" * 8),
        (field("boolean"), True, "01"),
        (CHOICE, "blue", "01"),
        (TEXT, "é", "02000000c3a9"),
        (LIST, [], "0000000000"),
        (LIST, [1], "0001000000000000000000f03f"),
        (LIST, ["a", ""], "0102000000" + "0100000061" + "00000000"),
        (MATRIX, [[1], [0]], "0200000001000000" + "000000000000f03f" + "00" * 8),
    ],
)
def test_each_kind_has_its_bytes(one: dict[str, Any], value: object, encoded: str) -> None:
    assert encode_input(manifest(one), {"v": value}) == b"VCP1" + bytes.fromhex(encoded)


@pytest.mark.parametrize(
    ("one", "value"),
    [
        (INTEGER, -4),
        (INTEGER, 2**64),
        (INTEGER, 1.0),
        (INTEGER, True),
        (INTEGER, "1"),
        (INTEGER, None),
        (NUMBER, 1.5),
        (NUMBER, math.nan),
        (NUMBER, math.inf),
        (NUMBER, False),
        (NUMBER, 10**400),
        (field("boolean"), 1),
        (CHOICE, "green"),
        (CHOICE, ["red"]),
        (TEXT, ""),
        (TEXT, "12345"),
        (TEXT, "ééé"),
        (TEXT, b"a"),
        (TEXT, "\ud800"),
        (LIST, [1, "a"]),
        (LIST, ["a", 1]),
        (LIST, [1, 2, 3, 4]),
        (LIST, [True]),
        (LIST, [[1]]),
        (LIST, [2**53 + 1]),
        (LIST, "abc"),
        (LIST, {"0": 1}),
        (MATRIX, []),
        (MATRIX, [[]]),
        (MATRIX, [[1], [2, 3]]),
        (MATRIX, [[1], [2], [3]]),
        (MATRIX, [1, 2]),
        (MATRIX, [["1"]]),
    ],
)
def test_a_value_that_breaks_a_rule_is_refused_by_name(one: dict[str, Any], value: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        encode_input(manifest(one), {"v": value})
    assert caught.value.where == "input.v"
    assert caught.value.rule
    assert caught.value.hint == "probe takes: v."
    assert len(caught.value.got) <= 60


def test_missing_and_unknown_fields_are_refused_and_defaults_are_used() -> None:
    with pytest.raises(InvalidInputError, match=r"input\.v: is missing"):
        encode_input(manifest(INTEGER), {})
    with pytest.raises(InvalidInputError, match=r"input\.w: is not a field"):
        encode_input(manifest(INTEGER), {"v": 1, "w": 2})
    with pytest.raises(InvalidInputError, match="is an object"):
        encode_input(manifest(INTEGER), [1])  # type: ignore[arg-type] # what a caller may send
    optional = manifest({**INTEGER, "default": 7})
    assert encode_input(optional, {}) == encode_input(optional, {"v": 7})


def test_a_record_that_is_too_large_is_refused() -> None:
    large = manifest(field("list", size_max=100_000))
    with pytest.raises(LimitExceededError) as caught:
        encode_input(large, {"v": ["x" * 100] * 100_000})
    assert caught.value.maximum == RECORD_BYTES_MAX


@given(value=st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists))
def test_no_value_of_any_shape_gets_past_or_breaks_the_checks(value: object) -> None:
    for one in (INTEGER, NUMBER, CHOICE, TEXT, LIST, MATRIX):
        try:
            record = encode_input(manifest(one), {"v": value})
        except InvalidInputError:
            continue
        assert record.startswith(b"VCP1")


@given(numbers=st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=3))
def test_numbers_travel_to_the_last_bit(numbers: list[float]) -> None:
    record = encode_input(manifest(LIST), {"v": numbers})
    assert list(struct.unpack_from(f"<{len(numbers)}d", record, 9)) == numbers


def answer(kind: str, value: object) -> bytes:
    return json.dumps({"result": {"r0": value}}).encode()


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("integer", [0, -5, 10**30], [1.0, True, "1", None]),
        ("number", [0, 1.5], [True, "1", [1], 10**400]),
        ("boolean", [True], [0, "true"]),
        ("text", ["", "a"], [1, None]),
        ("list", [[], [1, 2.5], ["a"]], [[1, "a"], "ab", [[1]], [None]]),
        ("integers", [[], [1]], [[1.5], ["a"]]),
        ("counts", [[], [{"count": 1, "text": "a"}]], [[{"count": 1}], [["a", 1]], [{}]]),
        ("matrix", [[], [[1, 2], [3, 4.5]]], [[[1], [1, 2]], [1], [["a"]]]),
    ],
)
def test_results_are_checked_by_kind(kind: str, good: list[object], bad: list[object]) -> None:
    for value in good:
        read = decode_answer(manifest(results=(kind,)), answer(kind, value))
        assert isinstance(read, ProgramResult)
        assert read.values == {"r0": value}
    for value in bad:
        with pytest.raises(InvalidInputError, match="output of probe"):
            decode_answer(manifest(results=(kind,)), answer(kind, value))


@pytest.mark.parametrize(
    "output",
    [
        b"",
        b"\xff",
        b"null",
        b"{}",
        b"[]",
        b'{"result":{}}',
        b'{"result":{"r0":1,"r1":2}}',
        b'{"result":{"r0":1,"r0":1}}',
        b'{"result":{"r0":1},"error":{}}',
        b'{"other":1}',
        b'{"error":{"code":"unheard_of","message":"m"}}',
        b'{"error":{"code":["odd"],"message":"m"}}',
        b'{"error":{"code":"odd"}}',
        b'{"error":{"code":"odd","message":"m","position":0}}',
        b'{"error":{"code":"odd","message":"m","extra":0}}',
        b'{"error":{"code":"odd","message":"' + b"m" * 201 + b'"}}',
        b'{"result":{"r0":NaN}}',
        b'{"result":{"r0":' + b"9" * 5000 + b"}}",
        b"[" * 90_000,
        b" " * 100_001,
    ],
)
def test_an_output_that_is_no_answer_is_refused(output: bytes) -> None:
    with pytest.raises(InvalidInputError, match="output of probe"):
        decode_answer(manifest(), output)


def test_a_number_too_large_for_binary64_is_refused_even_as_a_literal() -> None:
    with pytest.raises(InvalidInputError):
        decode_answer(manifest(results=("number",)), b'{"result":{"r0":1e999}}')


def test_a_large_binary64_comes_back_as_the_number_that_was_meant() -> None:
    output = b'{"result":{"r0":37197910227133900}}'
    read = decode_answer(manifest(results=("number",)), output)
    assert isinstance(read, ProgramResult)
    assert read.values["r0"] == 3.71979102271339e16


def test_an_error_is_an_answer_too() -> None:
    output = b'{"error":{"code":"odd","message":"it is odd","position":4}}'
    assert decode_answer(manifest(), output) == ProgramError(
        code="odd", message="it is odd", position=4
    )
