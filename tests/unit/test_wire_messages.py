"""Specifications and results as messages: nothing is lost, nothing odd is let in."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.execution.invocation import BytesCall, ScalarCall, WasiCall
from ambient_vcp.domain.execution.outcome import Reason
from ambient_vcp.domain.tasks.records import Energy
from ambient_vcp.domain.tasks.spec import InputRef, NodeType, Requirements
from ambient_vcp.wire.attempt_result import (
    decode_result,
    encode_result,
    result_from_json,
    result_to_json,
)
from ambient_vcp.wire.task_spec import decode_spec, encode_spec, spec_from_json, spec_to_json
from support.stores import result, spec

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
CALLS = st.one_of(
    st.builds(ScalarCall, name=TEXT, args=st.lists(TEXT, max_size=3).map(tuple)),
    st.just(BytesCall()),
    st.builds(
        WasiCall,
        args=st.lists(TEXT, max_size=3).map(tuple),
        env=st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple),
    ),
)
INPUTS = st.binary(max_size=50).map(
    lambda data: InputRef(digest=spec().module.digest, size_bytes=len(data), inline=data)
)
SPECS = st.builds(
    lambda call, name, public, nodes: replace(
        spec(name=name),
        call=call,
        public_input=public,
        requirements=Requirements(node_types=frozenset(nodes), min_memory_gb=0.5),
    ),
    CALLS,
    TEXT,
    st.none() | INPUTS,
    st.sets(st.sampled_from(list(NodeType))),
)


@given(SPECS)
def test_a_specification_comes_back_as_it_went(what):
    assert decode_spec(encode_spec(what)) == what
    assert decode_spec(json.loads(json.dumps(encode_spec(what)))) == what
    assert spec_from_json(spec_to_json(what)) == what


@given(st.none() | st.binary(max_size=30), st.binary(max_size=30), TEXT, st.integers(0, 2**63 - 1))
def test_a_result_comes_back_as_it_went(output, log, trap, fuel):
    sent = result()
    sent = replace(
        sent,
        output=output,
        log=log,
        outcome=replace(sent.outcome, reason=Reason.TRAP, trap=trap, fuel_used=fuel),
        energy=Energy(millijoules=5, label="measured", source="rapl"),
    )
    assert decode_result(encode_result(sent)) == sent
    assert decode_result(json.loads(json.dumps(encode_result(sent)))) == sent
    assert result_from_json(result_to_json(sent)) == sent


def changed(message, path, value):
    copy = json.loads(json.dumps(message))
    *parents, last = path.split(".")
    place = copy
    for parent in parents:
        place = place[parent]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return copy


BAD_SPECS = [
    ("surprise", 1),
    ("version", 2),
    ("version", ...),
    ("task_type", "teleport"),
    ("module.digest", "A" * 64),
    ("module.digest", "a" * 63),
    ("module.digest", "a" * 64 + "\n"),
    ("module.size_bytes", -1),
    ("module.size_bytes", 1.5),
    ("module.size_bytes", "100"),
    ("module.size_bytes", 2**63),
    ("module.inline", "YWJj"),
    ("module.inline", "not base64!"),
    ("call", {"interface": "shell"}),
    ("call", {"interface": "scalar", "name": "f", "args": [1]}),
    ("limits.fuel_max", True),
    ("limits.wall_ms_max", None),
    ("requirements.min_memory_gb", "nan"),
    ("requirements.min_memory_gb", float("nan")),
    ("requirements.min_bandwidth_mbps", float("inf")),
    ("requirements.node_types", ["moon"]),
    ("verification.replicas", 0),
    ("verification.replicas", 10**9),
    ("attempts_max", 0),
    ("timeouts", {}),
    ("name", "x" * 70_000),
]


@pytest.mark.parametrize(("path", "value"), BAD_SPECS)
def test_a_malformed_specification_is_refused(path, value):
    with pytest.raises(InvalidInputError) as refused:
        decode_spec(changed(encode_spec(spec()), path, value))
    assert refused.value.where == "task_spec"


BAD_RESULTS = [
    ("surprise", 1),
    ("version", "1"),
    ("signature", "ab"),
    ("node_public_key", "z" * 64),
    ("outcome.reason", "tired"),
    ("outcome.fuel_used", -1),
    ("output", "\u00e9"),
    ("energy.label", "guessed"),
    ("energy.millijoules", -1),
    ("trace", None),
    ("trace.engine", ...),
    ("execution_time_ms", 1e3 + 0.5),
]


@pytest.mark.parametrize(("path", "value"), BAD_RESULTS)
def test_a_malformed_result_is_refused(path, value):
    with pytest.raises(InvalidInputError) as refused:
        decode_result(changed(encode_result(result()), path, value))
    assert refused.value.where == "result"


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff", b'{"version": 1}', "{"])
def test_text_that_is_no_message_is_refused(text):
    with pytest.raises(InvalidInputError):
        spec_from_json(text)
    with pytest.raises(InvalidInputError):
        result_from_json(text)


def test_what_cannot_be_read_back_is_not_written():
    with pytest.raises(InvalidInputError):
        spec_to_json(spec(name="\ud800"))
    with pytest.raises(InvalidInputError):
        result_to_json(replace(result(), trace_digest="short"))
