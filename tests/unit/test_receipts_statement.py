"""Statements: their encoding is injective, and they agree on what matters and on nothing else."""

from dataclasses import fields, replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambient_vcp.domain.errors import InvalidInputError
from ambient_vcp.domain.execution.invocation import BytesCall, ScalarCall, WasiCall
from ambient_vcp.domain.execution.outcome import Outcome, Reason
from ambient_vcp.domain.receipts.statement import (
    ResultStatement,
    agreement_key,
    agreement_keys,
    arguments_digest,
    commit_private_input,
    statement_of,
)
from ambient_vcp.testing.receipts import digest_of

STATEMENT = ResultStatement(
    task_id="task",
    slot=1,
    epoch=2,
    node_id="node",
    module_digest=digest_of("module"),
    interface="scalar",
    entry="fib",
    arguments_digest=digest_of("arguments"),
    public_input_digest=digest_of("public"),
    private_input_commitment="",
    reason="",
    trap="",
    output_digest=digest_of("output"),
    output_size_bytes=3,
    fuel_used=4,
    memory_peak_bytes=5,
    exec_class="x86",
    trace_digest=digest_of("trace"),
)
NAMES = [each.name for each in fields(ResultStatement)]
NEVER_COMPARED = {"task_id", "slot", "epoch", "node_id", "trace_digest"}
ONLY_WITHIN_A_CLASS = {"fuel_used", "exec_class"}


def changed(name):
    value = getattr(STATEMENT, name)
    return replace(STATEMENT, **{name: value + 1 if isinstance(value, int) else value + "x"})


def test_the_encoding_is_the_one_documented():
    parts = ["ambient-vcp/result/v1", *(str(getattr(STATEMENT, name)) for name in NAMES)]
    expected = b"".join(len(p.encode()).to_bytes(8, "big") + p.encode() for p in parts)
    assert STATEMENT.encode() == expected


@pytest.mark.parametrize("name", NAMES)
def test_every_field_is_signed(name):
    assert changed(name).encode() != STATEMENT.encode()


@pytest.mark.parametrize(("left", "right"), list(pairwise(NAMES)))
def test_no_character_can_move_to_the_next_field(left, right):
    one, other = str(getattr(STATEMENT, left)), str(getattr(STATEMENT, right))
    moved = replace(STATEMENT, **{left: one[:-1], right: one[-1:] + other})
    assert moved.encode() != STATEMENT.encode() or not one


@pytest.mark.parametrize("name", NAMES)
def test_agreement_compares_the_result_and_nothing_of_the_grant(name):
    other = changed(name)
    same_in_class = agreement_key(other) == agreement_key(STATEMENT)
    same_across = agreement_key(other, same_class=False) == agreement_key(
        STATEMENT, same_class=False
    )
    assert same_in_class is (name in NEVER_COMPARED)
    assert same_across is (name in NEVER_COMPARED | ONLY_WITHIN_A_CLASS)


def test_fuel_counts_until_a_second_class_takes_part():
    more_fuel = replace(STATEMENT, fuel_used=99)
    other_class = replace(STATEMENT, fuel_used=7, exec_class="arm")
    assert len(set(agreement_keys([STATEMENT, more_fuel]))) == 2
    assert len(set(agreement_keys([STATEMENT, more_fuel, other_class]))) == 1


WORDS = st.lists(st.text(alphabet="ab", max_size=2), max_size=3).map(tuple)
PAIRS = st.lists(st.tuples(*[st.text(alphabet="ab", max_size=2)] * 2), max_size=2).map(tuple)
CALLS = (
    st.builds(ScalarCall, name=st.text(alphabet="ab", max_size=2), args=WORDS)
    | st.builds(WasiCall, args=WORDS, env=PAIRS)
    | st.just(BytesCall())
)


@given(one=CALLS, other=CALLS)
def test_different_calls_have_different_argument_digests(one, other):
    assert (arguments_digest(one) == arguments_digest(other)) is (one == other)


def test_an_argument_cannot_pass_for_an_environment_variable():
    assert arguments_digest(WasiCall(args=("1", "A", "B"))) != arguments_digest(
        WasiCall(env=(("A", "B"),))
    )


def test_a_commitment_depends_on_blinder_and_data():
    zero, one = bytes(32), b"\1" + bytes(31)
    found = {
        commit_private_input(zero, digest_of("a")),
        commit_private_input(one, digest_of("a")),
        commit_private_input(zero, digest_of("b")),
    }
    assert len(found) == 3


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_blinder_of_another_size_is_refused(size):
    with pytest.raises(InvalidInputError):
        commit_private_input(bytes(size), digest_of("a"))


def test_a_statement_is_made_from_outcome_and_call():
    outcome = Outcome(
        reason=Reason.TRAP,
        trap="unreachable",
        output_digest=digest_of(""),
        output_size_bytes=0,
        fuel_used=10,
        memory_peak_bytes=65_536,
    )
    call = WasiCall(args=("x",))
    made = statement_of(
        outcome,
        task_id="t",
        slot=0,
        epoch=3,
        node_id="n",
        module_digest=digest_of("m"),
        call=call,
        public_input_digest=digest_of("p"),
        private_input_commitment="",
        exec_class="c",
        trace_digest=digest_of("t"),
    )
    assert (made.reason, made.trap, made.interface, made.entry) == (
        "trap",
        "unreachable",
        "wasi",
        "_start",
    )
    assert made.arguments_digest == arguments_digest(call)
