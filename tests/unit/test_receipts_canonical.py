"""Canonical JSON: the examples of RFC 8785 that have no floats, and everything refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambient_vcp.domain.errors import InvalidInputError, LimitExceededError
from ambient_vcp.domain.receipts.canonical import (
    DEPTH_MAX,
    INTEGER_MAX,
    TEXT_BYTES_MAX,
    canonical_json,
    parse_json,
)

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-INTEGER_MAX, max_value=INTEGER_MAX)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=12,
)


def test_keys_are_sorted_by_utf_16_as_in_the_rfc():
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    encoded = canonical_json(dict.fromkeys(keys, 0)).decode()
    found = list(json.loads(encoded))
    assert found == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


def test_text_is_escaped_as_in_the_rfc():
    value = {"string": '\u20ac$\u000f\nA\'B"\\\\"/', "literals": [None, True, False]}
    assert (
        canonical_json(value)
        == (
            '{"literals":[null,true,false],"string":"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
        ).encode()
    )


@given(value=VALUES)
def test_a_value_comes_back_and_its_encoding_is_a_fixed_point(value):
    encoded = canonical_json(value)
    assert parse_json(encoded) == value
    assert canonical_json(parse_json(encoded)) == encoded
    spaced = json.dumps(value, indent=2, ensure_ascii=True)
    assert canonical_json(parse_json(spaced)) == encoded


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        float("nan"),
        {"a": [0.5]},
        INTEGER_MAX + 1,
        -INTEGER_MAX - 1,
        "\ud800",
        {"\ud800": 1},
        {1: 2},
        (1, 2),
        b"bytes",
        {"a": {1, 2}},
    ],
    ids=repr,
)
def test_what_canonical_json_cannot_express_is_refused(value):
    with pytest.raises(InvalidInputError):
        canonical_json(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "1.0",
        "1e3",
        "-0.0",
        "NaN",
        "Infinity",
        "-Infinity",
        '{"a":1,"a":1}',
        '{"x":{"a":1,"b":2,"a":3}}',
        '{"\\u0061":1,"a":1}',
        "9007199254740992",
        "1" * 5_000,
        '"\\ud800"',
        b'"\xff"',
        "[1,]",
        "01",
        "'a'",
        "[1] 2",
        "\ufeff1",
        "[" * 100_000,
        "[" * (DEPTH_MAX + 1) + "]" * (DEPTH_MAX + 1),
    ],
    ids=lambda text: repr(text[:20]),
)
def test_texts_beyond_strict_json_are_refused(text):
    with pytest.raises(InvalidInputError):
        parse_json(text)


def test_a_text_that_is_too_long_is_refused_before_parsing():
    with pytest.raises(LimitExceededError):
        parse_json(" " * (TEXT_BYTES_MAX + 1))


def test_true_is_not_the_integer_one():
    assert canonical_json([True, 1]) == b"[true,1]"
